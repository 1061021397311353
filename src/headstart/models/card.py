"""model.json: what a saved model is, and the README beside it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from headstart.records import TrialRecord

SCHEMA = 1


class ModelCard(BaseModel):
    """Everything about a model but its tensors."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = Field(SCHEMA, alias="schema")
    backbone: str  # as `headstart.backbones.load` takes it
    classifier_classes: int  # of the network in weights.safetensors
    norm: Literal["own", "group"]
    strategy: str
    codes: Literal["last", "all"]
    head: Literal["network", "beside"]  # the network's classifier, or head.safetensors
    classes: list[str]
    preprocessing: dict[str, Any]  # see `headstart.data.Preprocessing`
    metrics: dict[str, Any]
    provenance: dict[str, Any]
    trial: str  # key of the trial it was trained in
    digests: dict[str, str]  # SHA-256 of each file of tensors


def readme(card: ModelCard, record: TrialRecord) -> str:
    """README.md of a model folder, for people."""
    validation, test = card.metrics.get("validation") or {}, card.metrics.get("test")
    lines = [
        f"# {card.strategy} on {card.provenance.get('data', 'images')}",
        "",
        f"A classifier of {len(card.classes)} classes: {card.backbone} at "
        f"{card.preprocessing['image_size']} px, strategy `{card.strategy}`, trained on "
        f"{record.train_images} images by headstart.",
        "",
        f"- Validation accuracy: {_interval(validation)}",
        f"- Test accuracy: {_interval(test) if test else 'not measured'}",
        "",
        "```python",
        "import headstart",
        "",
        'model = headstart.load("best")',
        'print(model.predict(["image.jpg"])[0].label)',
        "```",
        "",
    ]
    if card.head == "network" and card.norm == "own":
        lines += _plain_loading(card)
    lines += [
        "`model.json` holds the classes, the preprocessing, and where everything came from. "
        "The accuracies hold for images like those it was measured on, and for no others.",
        "",
    ]
    return "\n".join(lines)


def _interval(metric: dict[str, Any]) -> str:
    value = metric.get("accuracy", metric.get("value"))
    if value is None:
        return "not measured"
    if metric.get("low") is None:
        return f"{value:.1%}"
    return f"{value:.1%} ({metric['low']:.1%} to {metric['high']:.1%})"


def _plain_loading(card: ModelCard) -> list[str]:
    library, _, name = card.backbone.rpartition("/")
    count = card.classifier_classes
    if library == "torchvision":
        build = ["import torchvision", f"network = torchvision.models.{name}(num_classes={count})"]
    else:
        architecture = name if library == "timm" else "tf_efficientnet_lite0"
        build = [
            "import timm",
            f'network = timm.create_model("{architecture}", num_classes={count})',
        ]
    return [
        "The weights load without headstart too:",
        "",
        "```python",
        *build[:1],
        "from safetensors.torch import load_file",
        "",
        *build[1:],
        'network.load_state_dict(load_file("best/weights.safetensors"))',
        "```",
        "",
    ]
