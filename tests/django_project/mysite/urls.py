"""One page for each thing that an application does with tasks."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.utils import timezone

from . import tasks


def order(request: HttpRequest, number: int) -> JsonResponse:
    with transaction.atomic():
        transaction.on_commit(partial(tasks.ship.enqueue, number, express=True))
    results = [
        tasks.mail.enqueue("ada@example.com"),
        tasks.pay.enqueue(number),
        tasks.invoice.enqueue(number),
        tasks.mail.using(run_after=timezone.now() + timedelta(seconds=1)).enqueue("later@example.com"),
    ]
    return JsonResponse([result.id for result in results], safe=False)


async def text(request: HttpRequest, text: str) -> JsonResponse:
    result = await tasks.translate.aenqueue(text)
    return JsonResponse([result.id], safe=False)


async def text_by_mail(request: HttpRequest, text: str) -> JsonResponse:
    result = await tasks.translate_and_mail.aenqueue(text)
    return JsonResponse([result.id], safe=False)


urlpatterns = [
    path("orders/<int:number>", order),
    path("texts/<str:text>", text),
    path("mails/<str:text>", text_by_mail),
]
