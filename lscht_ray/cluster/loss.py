"""Notices that the Ray cluster is gone while a sweep runs on it.

Ray would then end this process without a word: at once where the node's raylet has ended, after a minute where the head
has (https://github.com/ray-project/ray/blob/ray-2.60.0/src/ray/rpc/rpc_client.h).
"""

import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray

LOOK_SECONDS = 1.0
REFUSED_SECONDS = 4.0
"""A port that refuses connections for so long has nobody behind it any more."""
SILENT_SECONDS = 40.0
"""A host that can't be reached for so long is gone. Ray itself gives up after 60 seconds."""


class Port:
    """A port that must answer, and since when it has not.

    Args:
        host: Its host.
        port: Its number.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.refused: float | None = None
        self.silent: float | None = None

    def is_gone(self) -> bool:
        """Look once; whether nobody has been there for too long."""
        now = time.monotonic()
        try:
            with socket.create_connection((self.host, self.port), timeout=5):
                self.refused = self.silent = None
                return False
        except ConnectionRefusedError:
            self.refused = self.refused if self.refused is not None else now
        except OSError:
            pass
        self.silent = self.silent if self.silent is not None else now
        refused = self.refused is not None and now - self.refused >= REFUSED_SECONDS
        return refused or now - self.silent >= SILENT_SECONDS


def ports() -> list[Port]:
    """Those of the head (its GCS), and of the raylet of the node that this process is connected to."""
    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    own = [node for node in ray.nodes() if node["NodeID"] == context.get_node_id()]
    return [Port(host, int(port)), *(Port(node["NodeManagerAddress"], int(node["NodeManagerPort"])) for node in own)]


@contextmanager
def noticed(on_loss: Callable[[str], int]) -> Iterator[None]:
    """Within, watch the cluster that this process is connected to.

    Where it is lost, ``on_loss`` is called in another thread with a sentence that says so, and the process ends with
    what it returns: nothing that waits for Ray would ever return, and Ray ends the process soon.
    """
    watched, address = ports(), ray.get_runtime_context().gcs_address
    over, lost = threading.Event(), threading.Event()

    def end() -> None:
        lost.set()
        code = 1
        try:
            code = on_loss(f"the Ray cluster at {address} is gone: it was ended, or its machine was")
        except Exception:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def watch() -> None:
        while not over.wait(LOOK_SECONDS):
            if any(port.is_gone() for port in watched):
                end()

    thread = threading.Thread(target=watch, name="cluster loss", daemon=True)
    thread.start()
    try:
        yield
    except Exception:
        # What Ray raises where its cluster ends may come before the thread is sure.
        while any(port.is_gone() or port.refused is not None for port in watched):
            lost.wait(LOOK_SECONDS)
        raise
    finally:
        over.set()
        if lost.is_set():
            threading.Event().wait()  # the thread ends this process
