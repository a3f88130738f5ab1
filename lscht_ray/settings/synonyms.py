"""What the settings are called elsewhere, in the field's other programs, and what there is no setting for."""

from collections.abc import Collection

from lscht_ray.settings.allowed import nearest

SETTINGS = {
    "learning_rate": "lr", "base_lr": "lr", "max_lr": "lr", "min_learning_rate": "min_lr", "eta_min": "min_lr",
    "wd": "weight_decay", "l2": "weight_decay",
    "epochs": "max_epochs", "num_epochs": "max_epochs", "n_epochs": "max_epochs", "num_train_epochs": "max_epochs",
    "max_epoch": "max_epochs",
    "bs": "batch_size", "batch": "batch_size", "batchsize": "batch_size", "train_batch_size": "batch_size",
    "per_device_train_batch_size": "batch_size",
    "workers": "num_workers", "n_workers": "num_workers", "dataloader_num_workers": "num_workers",
    "gradient_accumulation": "accumulation", "gradient_accumulation_steps": "accumulation",
    "accumulate_grad_batches": "accumulation", "update_freq": "accumulation",
    "warmup": "warmup_ratio", "warmup_steps": "warmup_ratio", "warmup_epochs": "warmup_ratio",
    "smoothing": "label_smoothing", "label_smooth": "label_smoothing",
    "dropout": "head_dropout", "drop": "head_dropout", "fc_drop_rate": "head_dropout", "drop_path_rate": "drop_path",
    "stochastic_depth": "drop_path",
    "clip_grad": "gradient_clip", "max_grad_norm": "gradient_clip", "grad_clip": "gradient_clip",
    "early_stop": "early_stopping", "early_stopping_patience": "patience",
    "class_weights": "class_weighted", "weighted_loss": "class_weighted", "balanced": "class_balanced_sampling",
    "ema": "ema_decay", "mixup_alpha": "mixup", "cutmix_alpha": "cutmix", "frozen": "freeze_epochs",
    "freeze": "freeze_epochs", "freeze_backbone": "freeze_epochs", "lora": "lora_rank", "lora_r": "lora_rank",
    "frames": "num_frames", "clip_len": "num_frames", "n_frames": "num_frames", "img_size": "image_size",
    "input_size": "image_size", "resolution": "image_size", "crop": "eval_crop", "flip": "flip_probability",
    "hflip": "flip_probability", "random_erasing": "erasing_probability", "reprob": "erasing_probability",
    "randaugment": "randaugment_ops", "color_jitter": "brightness",
    "root_path": "data", "base_path": "data", "dataset_path": "data", "dataset_dir": "data", "data_folder": "data",
    "train_dir": "data", "annotation_file": "data", "annotations": "data", "json_path": "data", "path": "data",
    "root": "data", "datos": "data", "carpeta": "data",
    "data_root": "data", "data_dir": "data", "data_path": "data", "dataset": "data", "data_set": "data",
    "video_dir": "videos", "video_root": "videos", "video_folder": "videos",
    "output_dir": "checkpoint_dir", "output": "checkpoint_dir", "save_dir": "checkpoint_dir", "out": "checkpoint_dir",
    "logdir": "log_dir", "tensorboard_dir": "log_dir", "name": "run_name", "experiment": "run_name",
    "exp_name": "run_name",
    "model": "model_name", "pretrained": "model_name", "checkpoint": "model_name", "backbone": "model_name",
    "model_path": "model_name", "finetune": "model_name", "weights": "model_name",
    "gpu": "device", "gpus": "device", "cuda": "device", "accelerator": "device", "no_cuda": "device",
    "fp16": "precision", "bf16": "precision", "amp": "precision", "mixed_precision": "precision", "half": "precision",
    "dtype": "precision",
    "torch_compile": "compile", "checkpoint_activations": "gradient_checkpointing",
    "save_every": "checkpoint_every", "save_freq": "checkpoint_every", "save_steps": "checkpoint_every_steps",
    "random_seed": "seed", "manual_seed": "seed", "val_split": "val_fraction", "test_split": "test_fraction",
    "test_size": "test_fraction", "val_size": "val_fraction", "metric": "best_metric", "monitor": "best_metric",
    "limit_train_batches": "limit_batches", "max_steps": "limit_batches",
    # of a sweep
    "num_samples": "num_trials", "trials": "num_trials", "n_trials": "num_trials", "samples": "num_trials",
    "gpus_per_trial": "resources.gpus_per_worker", "cpus_per_trial": "resources.cpus_per_worker",
    "max_concurrent_trials": "resources.max_concurrent_trials", "max_concurrent": "resources.max_concurrent_trials",
    "n_jobs": "resources.max_concurrent_trials", "scheduler": "trial_stopping", "pruner": "trial_stopping",
    "search_alg": "sampler.type", "algo": "sampler.type", "address": "resources.address",
    "ray_address": "resources.address", "space": "search_space", "params": "search_space",
    "param_space": "search_space",
    "asha.max_t": "train.max_epochs", "max_t": "train.max_epochs", "storage": "storage_path",
    "local_dir": "storage_path", "max_hours": "budget.hours", "timeout": "budget.hours",
    "time_budget_s": "budget.hours",
    # of one searched setting
    "min": "low", "max": "high", "lower": "low", "upper": "high", "values": "choices", "categories": "choices",
    "q": "step", "kind": "type", "distribution": "type",
    "lr_rate": "lr", "label": "columns.label", "signer": "columns.signer", "split": "split_policy",
    # of a column map
    "columns.gloss": "columns.label", "columns.word": "columns.label", "columns.class": "columns.label",
    "columns.video": "columns.path", "columns.person": "columns.signer", "columns.from": "columns.start",
    "columns.to": "columns.end",
}  # fmt: skip
"""The field's names for settings, and ours. One counts where the door, or the file, has the setting."""
ABSENT = {
    "num_labels": "it follows from the data set (num_classes checks it)",
    "optimizer": "it is always AdamW",
    "optim": "it is always AdamW",
    "momentum": "the optimizer is always AdamW",
    "betas": "AdamW's are always 0.9 and 0.999",
    "lr_scheduler": "it is always a cosine after a warm-up (warmup_ratio, min_lr)",
    "scheduler": "it is always a cosine after a warm-up (warmup_ratio, min_lr)",
    "lr_schedule": "it is always a cosine after a warm-up (warmup_ratio, min_lr)",
    "loss": "it is always the cross-entropy (class_weighted, label_smoothing)",
    "local_rank": "several GPUs are used by `python -m lscht_ray.tune`",
}
"""What is no setting here, and why."""


DOORS = {
    "tune": (
        "train",
        "search_space",
        "num_trials",
        "sampler",
        "asha",
        "budget",
        "resources",
        "extend",
        "debug",
        "quiet",
    ),
    "evaluate": ("split", "csv_locale"),
    "check": ("html", "json", "facts", "contact-sheet", "build-cache", "write_splits", "min_clips"),
    "train": ("resume", "override", "plan", "lr", "max_epochs", "batch_size"),
}
"""Flags that are typed at the wrong door, and whose they are."""


def of_another_door(flag: str) -> str:
    """Say which door has a flag, where it is plain."""
    name = flag.lstrip("-").partition(".")[0]
    found = next((door for door, flags in DOORS.items() if name in flags), "")
    return f": it is a flag of `python -m lscht_ray.{found}`" if found else ""


def suggestion(name: str, known: Collection[str]) -> str:
    """Say which setting was probably meant, or why there is none; nothing where no name is near.

    Args:
        name: What was written, as a key or as a flag.
        known: What is allowed there, as keys or as flags.
    """
    plain = name.lstrip("-").replace("-", "_")
    bare = {each.lstrip("-"): each for each in known}
    tail = plain.rpartition(".")[2]
    for wanted in (plain, SETTINGS.get(plain), tail, SETTINGS.get(tail)):
        if wanted is None:
            continue
        for place in (wanted, f"train.{wanted}"):
            if place in bare and bare[place] != name:
                return f": did you mean {bare[place]}?"
    if tail in ABSENT:
        return f": {ABSENT[tail]}"
    found = nearest(plain, known)
    return f": did you mean {found}?" if found else ""
