"""`python -m lscht_ray.tune`: a sweep of trials with Ray Tune and Optuna, from a YAML file to the best model."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from lscht_ray import commandline, console, recorder
from lscht_ray.config import TrainConfig
from lscht_ray.errors import InputError
from lscht_ray.files import slug, write_json
from lscht_ray.ledger import Ledger, TrialRecord
from lscht_ray.sweepconfig import SweepConfig

if TYPE_CHECKING:
    from lscht_ray.annotations import Annotations
    from lscht_ray.storage import Storage

SUMMARY, CONFIG, LOG = "summary.json", "sweep.json", "ray.log"


def main(argv: list[str]) -> int:
    """The door."""
    sweep, flags = commandline.parse(
        SweepConfig,
        argv,
        prog="python -m lscht_ray.tune",
        description=f"{__doc__} Without --config it runs the embedded demo (tune_configs/demo.yaml).",
        default_config=commandline.shipped_configs() / "demo.yaml",
        extra=_flags,
    )
    screen = console.new_console()
    if (sweep.train.lora_rank or "lora_rank" in sweep.search_space) and find_spec("peft") is None:
        raise InputError('lora_rank needs peft on every node: pip install "lscht_ray[lora]"')
    sweep = sweep.model_copy(update={"train": _absolute(sweep.train)})
    found = _look_at_data(sweep.train, screen)
    if flags.plan:
        from lscht_ray import plan

        plan.plan_sweep(sweep, found, screen)
        return 0
    if flags.debug:
        from lscht_ray.worker import train_here

        outcome = train_here(sweep.trial_config(sweep.first_point()), screen)
        screen.print(f"debug run done: {outcome.folders.run}")
        return 0
    return _run(sweep, screen)


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--debug", action="store_true", help="run only the first trial, in this process and without a cluster"
    )
    parser.add_argument("--plan", action="store_true", help="say what the sweep will do and cost, and end")


def _absolute(config: TrainConfig) -> TrainConfig:
    """The same settings with absolute paths: workers run in other folders."""
    update: dict[str, Any] = {}
    for name in ("videos", "checkpoint_dir", "log_dir", "cache_dir"):
        value = getattr(config, name)
        update[name] = str(Path(value).expanduser().resolve()) if value is not None else None
    for name in ("data", "model_name", "layout", "split_file"):
        path = Path(getattr(config, name) or "").expanduser()
        if not getattr(config, name) or (name == "layout" and not path.is_file()):
            continue
        if path.exists():
            update[name] = str(path.resolve())
    return config.model_copy(update=update)


def _look_at_data(config: TrainConfig, screen: Console) -> Annotations:
    """Look at the data set, so that a mistake in it ends here and not in every trial."""
    from lscht_ray.survey import ready

    found = ready(config, screen)
    screen.print(found.summary())
    return found


def _sweep_folder(sweep: SweepConfig) -> tuple[Path, str]:
    """A new local folder for the sweep, and its place for all nodes: the same, or below the given URI."""
    name, storage_path = slug(sweep.train.run_name) or "sweep", sweep.storage_path
    if "://" in storage_path:
        folder = recorder.new_folder(Path("models/checkpoints"), name)
        return folder, f"{storage_path.rstrip('/')}/{folder.name}"
    folder = recorder.new_folder(Path(storage_path), name)
    return folder, str(folder)


def _run(sweep: SweepConfig, screen: Console) -> int:
    from lscht_ray import fill
    from lscht_ray.storage import Storage

    folder, place = _sweep_folder(sweep)
    storage = Storage(place)
    write_json(folder / CONFIG, sweep.model_dump(mode="json"))
    ledger = Ledger(sweep.metric, sweep.mode, sweep.train.max_epochs)
    screen.print(f"sweep folder {folder}\nRay's own messages go to {folder / LOG}\nstarting Ray ...")
    decoded = fill.decodes(sweep.train)
    with console.chatter_to(folder / LOG) as screen:
        try:
            interrupted = _search(sweep, folder, storage, ledger, screen)
        except KeyboardInterrupt:
            interrupted = True
        ledger.interrupt()
        best = None
        try:
            best = _keep_best(sweep, ledger, storage, folder)
            write_json(folder / SUMMARY, ledger.summary(str(best) if best else None))
            if place != str(folder):
                storage.put(folder, "")
        except OSError as error:
            screen.print(f"warning: the results can't be written to {folder}: {error}")
    screen = console.new_console()
    if sweep.train.cache != "off":
        decoded = fill.decodes(sweep.train) - decoded
        screen.print(f"clip cache of this node: {decoded} videos decoded for {len(ledger.trials)} trials")
    _conclude(sweep, ledger, folder, place, best, screen=screen)
    if interrupted:
        return 130
    return 0 if best else 1


def _search(sweep: SweepConfig, folder: Path, storage: Storage, ledger: Ledger, screen: Console) -> bool:
    """Run the trials; whether Ctrl-C ended them."""
    import ray.tune

    from lscht_ray import cluster, search, trial, watch

    def on_end(record: TrialRecord) -> None:
        try:
            write_json(folder / SUMMARY, ledger.summary())
            _write_hparams(storage, record, ledger)
        except OSError as error:
            screen.print(f"warning: {folder} can't be written: {error}")

    with cluster.connected(sweep.resources) as started_here:
        planned = cluster.plan(sweep.resources, sweep.num_trials, started_here=started_here)
        screen.print(f"{planned.description}\n{sweep.num_trials} trials of at most {sweep.train.max_epochs} epochs")
        watching = watch.Watch(ledger, screen, sweep.num_trials, on_end)
        trainable = ray.tune.with_parameters(
            trial.run_trial, sweep=sweep, storage=storage.root, gpus_per_worker=planned.gpus_per_worker
        )
        tuner = ray.tune.Tuner(
            ray.tune.with_resources(trainable, ray.tune.PlacementGroupFactory([trial.DRIVER_RESOURCES])),
            tune_config=search.tune_config(sweep, planned.concurrent, trial.trial_name),
            run_config=ray.tune.RunConfig(
                name="tune",
                storage_path=storage.root,
                verbose=0,
                callbacks=[watching],
                failure_config=ray.tune.FailureConfig(max_failures=min(1, sweep.max_failures)),
            ),
        )
        with _stopping_cleanly(screen) as stopped:
            tuner.fit()
        watching.release()
        return bool(stopped)


@contextmanager
def _stopping_cleanly(screen: Console) -> Iterator[list[int]]:
    """Within, the first Ctrl-C has Tune end its trials and return; the second ends at once. Yields the signals seen."""
    seen: list[int] = []

    def on_signal(number: int, frame: Any) -> None:
        seen.append(number)
        if len(seen) > 1 or not callable(signal.getsignal(signal.SIGUSR1)):
            raise KeyboardInterrupt
        text = "stopping: ending the trials, then writing what was found (Ctrl-C again ends at once)"
        threading.Thread(target=screen.print, args=(text,)).start()  # here it might come within another print
        signal.raise_signal(signal.SIGUSR1)  # which Tune takes as the wish to stop

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


def _write_hparams(storage: Storage, record: TrialRecord, ledger: Ledger) -> None:
    """TensorBoard's HPARAMS entry of a trial, beside its other events."""
    best = ledger.best_epoch(record)
    if best is None:
        return
    figures = {name: value for name, value in best.items() if name.startswith("val_")}
    with tempfile.TemporaryDirectory() as folder:
        recorder.write_hparams(Path(folder), record.params, figures)
        storage.put(Path(folder), f"runs/{record.trial_id}")


def _keep_best(sweep: SweepConfig, ledger: Ledger, storage: Storage, folder: Path) -> Path | None:
    """Put the best trial's best epoch into ``best/``; of every trial only the best and the last epoch are left.

    Nothing is removed of a trial whose best epoch is gone: it was stopped while a better one took its place.
    """
    from lscht_ray import checkpoint, model, rescue

    kept = None
    for winner in ledger.ranking()[:1]:
        full = _best_checkpoint(winner, ledger, storage)
        if full is not None:
            kept = folder / "best" / checkpoint.BEST
            kept.parent.mkdir(exist_ok=True)
            checkpoint.save(checkpoint.model_part(full), kept)
            model.export(full, kept.parent / model.EXPORT)
            for name in (checkpoint.BEST, f"{model.EXPORT}/model.safetensors"):
                checkpoint.list_hash(kept.parent, name)
            config = sweep.trial_config(winner.params).model_dump(mode="json")
            write_json(kept.parent / recorder.CONFIG, config)
    for record in ledger.ranking():
        best, found = ledger.best_epoch(record), rescue.checkpoints(storage, record.trial_id)
        if best is not None and best["epoch"] in found.values():  # else a later one took its place
            for name, epoch in found.items():
                if epoch not in (best["epoch"], max(record.epochs)):
                    storage.delete(f"trials/{record.trial_id}/{name}")
    return kept


def _best_checkpoint(record: TrialRecord, ledger: Ledger, storage: Storage) -> dict[str, Any] | None:
    """The full checkpoint of a trial's best epoch; None where it is damaged.

    A trial that is killed may have saved a better epoch, and removed the one before, without telling of it: then that
    epoch is entered into the ledger.
    """
    from lscht_ray import rescue, watch

    best, heard = ledger.best_epoch(record), max(record.epochs)
    saved = [
        (epoch, _loaded(storage, f"trials/{record.trial_id}/{name}"))
        for name, epoch in rescue.checkpoints(storage, record.trial_id).items()
        if epoch > heard or (best and epoch == best["epoch"])
    ]
    whole = {epoch: full for epoch, full in saved if full is not None}
    if best and best["epoch"] in whole:
        return whole[best["epoch"]]
    for full in whole.values():
        ledger.report(record.trial_id, watch.epoch_metrics(full["metrics"]))
    best = ledger.best_epoch(record)
    return whole.get(best["epoch"]) if best else None


def _loaded(storage: Storage, name: str) -> dict[str, Any] | None:
    """A full checkpoint of a trial; None where it is damaged: its trial was killed while it was written or removed."""
    from lscht_ray import checkpoint

    with tempfile.TemporaryDirectory() as fetched:
        storage.get(name, Path(fetched))
        try:
            return checkpoint.load(Path(fetched) / checkpoint.LAST, checkpoint.FULL_KEYS)
        except InputError:
            return None


def _conclude(sweep: SweepConfig, ledger: Ledger, folder: Path, place: str, best: Path | None, screen: Console) -> None:
    """The table of trials, the best parameters, and what to do next."""
    names = list(sweep.search_space)
    rows = []
    for record in ledger.ranking() + [r for r in ledger.in_order() if not r.epochs]:
        top = ledger.best_epoch(record)
        shown = [
            f"{record.params[name]:.4g}" if isinstance(record.params[name], float) else str(record.params[name])
            for name in names
        ]
        result = [f"{top[sweep.metric]:.4f}", f"{top['epoch']:.0f}"] if top else ["-", "-"]
        rows.append([record.trial_id, *shown, record.status, str(len(record.epochs)), *result, f"{record.seconds:.0f}"])
    columns = ["trial", *names, "status", "epochs", f"best {sweep.metric}", "at epoch", "seconds"]
    screen.print(console.table("Trials, the best first", columns, rows))
    for record in ledger.trials.values():
        if record.error:
            screen.print(f"{record.trial_id} failed: {record.error}")
    if best is None:
        damaged = next(
            (
                f"the checkpoint of the best epoch of {record.trial_id} is missing or damaged"
                for record in ledger.ranking()
            ),
            None,
        )
        screen.print(f"{damaged or 'no trial finished an epoch'}; see {folder / LOG} and {folder / SUMMARY}")
        return
    winner = ledger.ranking()[0]
    parameters = " ".join(f"--{name} {value}" for name, value in winner.params.items())
    screen.print(f"best: {winner.trial_id}  {parameters}")
    screen.print(f"results {folder / SUMMARY}\nTensorBoard: tensorboard --logdir {place}/runs")
    data = shlex.quote(sweep.train.data)
    screen.print(f"next: python -m lscht_ray.evaluate {shlex.quote(str(best))} --data {data} --split test")
    screen.print(f"  or: python -m lscht_ray.train --config {shlex.quote(str(best.parent / recorder.CONFIG))}")


if __name__ == "__main__":
    sys.exit(console.door(main))
