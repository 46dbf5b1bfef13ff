"""App Engine's Datastore in this process's memory: the SDK's own stub, whose commits add the tasks of a transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from google.appengine.api import api_base_pb2, datastore_file_stub
from google.appengine.datastore import datastore_pb as pb

logger = logging.getLogger(__name__)

METHODS = {
    "Get": (pb.GetRequest, pb.GetResponse),
    "Put": (pb.PutRequest, pb.PutResponse),
    "Delete": (pb.DeleteRequest, pb.DeleteResponse),
    "Touch": (pb.TouchRequest, pb.TouchResponse),
    "RunQuery": (pb.Query, pb.QueryResult),
    "Next": (pb.NextRequest, pb.QueryResult),
    "AllocateIds": (pb.AllocateIdsRequest, pb.AllocateIdsResponse),
    "BeginTransaction": (pb.BeginTransactionRequest, pb.Transaction),
    "Commit": (pb.Transaction, pb.CommitResponse),
    "Rollback": (pb.Transaction, api_base_pb2.VoidProto),
}


class Datastore(datastore_file_stub.DatastoreFileStub):  # type: ignore[misc]  # the SDK ships no types
    """Entities of any application. `add_task` is called with each task of a transaction that was committed."""

    def __init__(self, add_task: Callable[[Any], object]) -> None:
        super().__init__("localdev", None, trusted=True, save_changes=False, use_atexit=False)
        self._add_task = add_task

    def stage(self, request: Any) -> None:
        """Take the tasks of a transaction that is open: five at most, as App Engine has it."""
        self.MakeSyncCall("datastore_v3", "AddActions", request, api_base_pb2.VoidProto())

    def _Dynamic_Commit(self, transaction: Any, response: Any) -> None:
        # The stub's own way would call the SDK of this process.
        open_one = self._datastore.GetTxn(transaction, self._trusted, self._app_id)
        tasks, open_one._actions = open_one._actions, []
        super()._Dynamic_Commit(transaction, response)
        for task in tasks:
            try:
                self._add_task(task)
            except Exception:  # the commit stands; App Engine's own would go on trying
                logger.exception("a task of a transaction could not be added")
