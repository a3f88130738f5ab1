"""Puts the best epoch of the best trial into `best/`, and removes all but the best and the last checkpoint of each."""

import json
import tempfile
from pathlib import Path
from typing import Any

from lscht_ray.artifacts import checkpoint, places
from lscht_ray.artifacts.storage import Storage
from lscht_ray.errors import InputError
from lscht_ray.host.files import write_json
from lscht_ray.model import videomae
from lscht_ray.settings.sweep import SweepConfig
from lscht_ray.settings.train import as_used
from lscht_ray.sweep import rescue
from lscht_ray.sweep.ledger import Ledger, epoch_metrics
from lscht_ray.sweep.record import TrialRecord


def keep_best(sweep: SweepConfig, ledger: Ledger, storage: Storage, folder: Path) -> Path | None:
    """Put the best trial's best epoch into ``best/``, and keep of every trial only its best and its last epoch.

    A trial that was stopped while it replaced its best checkpoint has none of that epoch: it keeps all that it has.

    Returns:
        The model file; None where there is no whole checkpoint of the best epoch.
    """
    kept = None
    for winner in ledger.ranking()[:1]:
        full = _best_checkpoint(winner, ledger, storage)
        if full is not None:
            kept = folder / places.WINNER / places.BEST
            kept.parent.mkdir(exist_ok=True)
            (kept.parent / places.HASHES).unlink(missing_ok=True)  # the hashes of another model
            checkpoint.save(checkpoint.model_part(full), kept)
            videomae.export(full, kept.parent / places.EXPORT)
            for name in (places.BEST, f"{places.EXPORT}/model.safetensors"):
                checkpoint.list_hash(kept.parent, name)
            write_json(kept.parent / places.CONFIG, _settings(sweep, winner, storage, len(full["glosses"])))
    for record in ledger.ranking():
        best, checkpoints = ledger.best_epoch(record), rescue.checkpoints(storage, record.trial_id)
        if best is not None and best["epoch"] in checkpoints.values():  # else a later one took its place
            for name, epoch in checkpoints.items():
                if epoch not in (best["epoch"], max(record.epochs)):
                    storage.delete(f"{places.trial(record.trial_id)}/{name}")
    return kept


def _settings(sweep: SweepConfig, record: TrialRecord, storage: Storage, num_classes: int) -> dict[str, Any]:
    """What config.json says of a trial: its settings, and the device that it was trained on."""
    config = sweep.trial_config(record.params, places.trial_number(record.trial_id))
    try:
        written = json.loads(storage.read_text(f"{places.trial(record.trial_id)}/{places.CONFIG}") or "{}")
    except ValueError:  # it is cut off: its trial was killed just then
        written = {}
    return as_used(config, num_classes=num_classes, device=written.get("device", config.device))


def _best_checkpoint(record: TrialRecord, ledger: Ledger, storage: Storage) -> dict[str, Any] | None:
    """The full checkpoint of a trial's best epoch; None where it is damaged.

    A trial that is killed may have saved a better epoch and removed the one before without reporting it: that epoch is
    then entered into the ledger. Of equally accurate epochs an earlier version kept the first.
    """
    best, heard = ledger.best_epoch(record), max(record.epochs)
    equal = ledger.equally_good(record)
    saved = [
        (epoch, _loaded(storage, f"{places.trial(record.trial_id)}/{name}"))
        for name, epoch in rescue.checkpoints(storage, record.trial_id).items()
        if epoch > heard or epoch in equal
    ]
    whole = {epoch: full for epoch, full in saved if full is not None}
    if best and best["epoch"] in whole:
        return whole[best["epoch"]]
    for epoch in equal & whole.keys():
        ledger.settle_on(record, epoch)
        return whole[epoch]
    for full in whole.values():
        ledger.report(record.trial_id, epoch_metrics(full["metrics"]))
    best = ledger.best_epoch(record)
    return whole.get(best["epoch"]) if best else None


def _loaded(storage: Storage, name: str) -> dict[str, Any] | None:
    """A full checkpoint of a trial; None where it is damaged: its trial was killed while it was written or removed."""
    with tempfile.TemporaryDirectory() as fetched:
        try:
            return checkpoint.load(storage.fetched(name, Path(fetched)) / places.LAST)
        except InputError:
            return None
