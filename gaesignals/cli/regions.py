"""The regions of Cloud Tasks, as SIGNALS_LOCATION names them."""

from __future__ import annotations

import difflib
import re

REGIONS = frozenset(
    """
    africa-south1
    asia-east1 asia-east2 asia-northeast1 asia-northeast2 asia-northeast3 asia-south1 asia-south2 asia-southeast1
    asia-southeast2 asia-southeast3
    australia-southeast1 australia-southeast2
    europe-central2 europe-north1 europe-north2 europe-southwest1 europe-west1 europe-west2 europe-west3 europe-west4
    europe-west6 europe-west8 europe-west9 europe-west10 europe-west12
    me-central1 me-central2 me-west1
    northamerica-northeast1 northamerica-northeast2 northamerica-south1
    southamerica-east1 southamerica-west1
    us-central1 us-east1 us-east4 us-east5 us-south1 us-west1 us-west2 us-west3 us-west4
    """.split()  # noqa: SIM905  # a list would be a page long
)
# The names that App Engine has for its two oldest regions; the worker says so itself.
_RENAMED = ("us-central", "europe-west")


def advice_on(location: str) -> str:
    """What to write in place of `location`; empty if it is a region."""
    if location in REGIONS or location in _RENAMED:
        return ""
    region = re.sub(r"-[a-z]$", "", location)
    if region in REGIONS:
        return f"that is a zone; write {region}"
    near = difflib.get_close_matches(location, sorted(REGIONS), n=3)
    return f"write {' or '.join(near)}, if that is meant" if near else "`gcloud app describe` prints it as locationId"
