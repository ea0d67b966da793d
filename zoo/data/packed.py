"""What a data worker hands over: what it has read, or what has gone wrong in a line."""

from __future__ import annotations

import traceback
from multiprocessing.reduction import ForkingPickler
from typing import Any

from torch.utils.data import Dataset, get_worker_info

from zoo.data.shared_memory import FULL
from zoo.errors import DataError, SampleError, in_words, text_of
from zoo.open_files import are_too_many
from zoo.parts_file import PartsFile, loaded_files


class Packed:
    """What a worker read, pickled by its main thread: another, of Python's queue, would drop what it cannot pickle.

    Tensors are in shared memory by then, so that a lack of it is an error in the worker, which can be told.
    """

    def __init__(self, content: Any) -> None:
        self.pickled = bytes(ForkingPickler.dumps(content))

    def open(self) -> Any:
        """What was read."""
        return ForkingPickler.loads(self.pickled)

    def pin_memory(self) -> Any:
        """The same in page-locked memory; PyTorch calls this."""
        return self.open().pin_memory()


class Told(Dataset[Any]):
    """A dataset whose failures are DataErrors, and returned: PyTorch would wrap them in a traceback."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __reduce__(self) -> tuple[Any, ...]:
        return _told, (
            loaded_files(),
            self.dataset,
        )  # in that order: where workers are spawned, its class may be theirs

    def __getitem__(self, key: Any) -> Any:
        """What the dataset holds there, packed on its way from a worker."""
        try:
            found = self.dataset[key]
            return found if get_worker_info() is None else Packed(found)
        except DataError as error:
            kind = SampleError if isinstance(error, SampleError) else DataError
            return kind(str(error))  # a plug-in's own kind need not survive the way from a worker
        except Exception as error:
            told = DataError(unread(error))
            told.add_note(traceback.format_exc())
            return told


def _told(files: tuple[PartsFile, ...], dataset: Dataset[Any]) -> Told:
    return Told(dataset)


def unread(error: Exception) -> str:
    """One line for what has failed, and what to do."""
    if are_too_many(error):
        return "too many open files: raise their number by `ulimit -n`, or set data.workers lower"
    if "No space left on device" in (text := text_of(error)) and ("shm" in text or "/torch_" in text):
        return FULL
    if isinstance(error, MemoryError):
        return "out of memory where data is read: set data.workers or train.batch lower"
    return f"data cannot be read: {in_words(error)} (a fault of the dataset's code; --debug shows where)"
