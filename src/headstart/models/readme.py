"""The page about a model for people: README.md in its folder."""

from __future__ import annotations

from headstart.backbones import EMBEDDED
from headstart.metrics import METRIC_OF, WORDS, MetricName, Words
from headstart.models.card import WEIGHTS, AnyCard, Card, CommonCard, DetectorCard, Metric

LISTED_CLASSES = 50
EMBEDDED_IN_TIMM = "tf_efficientnet_lite0"
SIDE_HEADS = ("torchvision/googlenet", "torchvision/inception_v3")  # theirs have other shapes


def readme(card: AnyCard) -> str:
    """Markdown: what the model is, how good, how to load it, its classes and its limits."""
    if isinstance(card, Card):
        parts = [_what(card), _accuracy(card), _loading(card), _classes(card)]
    else:
        parts = [_what_it_finds(card), _accuracy(card), _finding(card), _classes(card)]
        parts += [_keypoints(card)] if card.keypoints.names else []
    return "\n\n".join([*parts, _limits(card)]) + "\n"


def _what(card: Card) -> str:
    groups = ", with GroupNorm in BatchNorm's place" if card.normalization == "group" else ""
    return (
        f"# {card.strategy} on {card.backbone}\n\n"
        f"A classifier of images into {len(card.classes)} classes. "
        + _origin(card, f"{_code(card.backbone)}{groups}")
    )


def _what_it_finds(card: DetectorCard) -> str:
    own, classes = card.detector, len(card.classes)
    found = {"boxes": "boxes", "masks": "boxes and masks", "keypoints": "boxes and keypoints"}
    return (
        f"# {card.strategy} on {card.backbone}\n\n"
        f"A detector of objects of {classes} class{'es' if classes > 1 else ''}: it gives their "
        f"{found[card.task]}. It is a {own.family} (normalization: {own.normalization}). "
        + _origin(card, _code(card.backbone))
    )


def _origin(card: AnyCard, network: str) -> str:
    came = card.provenance
    begun = "random weights"
    if came.pretraining is not None:
        begun = f"pretrained weights ({_code(came.pretraining.weights)})"
    return (
        f"It began with {begun} of {network}, and learned from {came.train_images} images of "
        f"{_code(came.data)}. headstart {came.versions.get('headstart', '')} chose it by "
        f"measurement and wrote it on {came.date[:10]}."
    )


def _accuracy(card: AnyCard) -> str:
    name: MetricName = "accuracy" if isinstance(card, Card) else METRIC_OF[card.task]
    words = WORDS[name]
    lines = ["## How good it is", "", f"| measured on | {name} | 95% interval |", "|---|---|---|"]
    for split, metric in card.metrics.items():
        if metric is not None:
            lines.append(f"| {split} | {_value(metric, words)} | {_interval(metric, words)} |")
    if isinstance(card, DetectorCard):
        lines += ["", "AP is COCO's average precision, over overlaps of 0.5 to 0.95."]
    lines += ["", "The validation images chose the model; the test images did not."]
    return "\n".join(lines)


def _value(metric: Metric, words: Words) -> str:
    if metric.accuracy is None or metric.accuracy == metric.value:
        return words.value(metric.value)
    return f"{words.value(metric.accuracy)} (the mean of its seeds: {words.value(metric.value)})"


def _interval(metric: Metric, words: Words) -> str:
    if metric.low is None or metric.high is None:
        return "not known"
    return f"{words.value(metric.low)} to {words.value(metric.high)}"


def _loading(card: Card) -> str:
    ours = (
        "## How to use it\n\n"
        "```python\n"
        "import headstart\n"
        'model = headstart.load("best")  # this folder\n'
        'print(model.predict(["photo.jpg"]))\n'
        "```\n\n"
        "or `headstart predict best photo.jpg`."
    )
    p = card.preprocessing
    return "\n\n".join(
        [
            ours,
            _plainly(card),
            f"It sees RGB images whose shorter side is resized to {p.resize} px ({p.interpolation}"
            f"), the middle {p.image_size} x {p.image_size} px of them, scaled to 0..1, less "
            f"{_three(p.mean)}, divided by {_three(p.std)}, channel by channel.",
        ]
    )


def _finding(card: DetectorCard) -> str:
    own = card.detector
    values = {"boxes": "", "masks": ", each.mask", "keypoints": ", each.keypoints"}[card.task]
    return (
        "## How to use it\n\n"
        "```python\n"
        "import headstart\n"
        'model = headstart.load("best")  # this folder\n'
        'for found in model.predict(["photo.jpg"], to="found"):\n'
        "    for each in found.objects:\n"
        f"        print(each.label, each.score, each.box{values})\n"
        "```\n\n"
        "or `headstart predict best photo.jpg --to found`. Both leave `found/detections.json`, in "
        "COCO's form, and `found/pictures`.\n\n"
        f"Boxes are x0, y0, x1, y1 in pixels of the upright image. It sees RGB images whose "
        f"shorter side is resized to {own.short_side} px (the longer one to at most "
        f"{own.long_side} px), scaled to 0..1, less {_three(card.mean)}, divided by "
        f"{_three(card.std)}, channel by channel.\n\n"
        "No library builds this very network from its name; it is loaded with headstart."
    )


def _keypoints(card: DetectorCard) -> str:
    names = [f"{i}. {_code(name)}" for i, name in enumerate(card.keypoints.names)]
    return "\n".join(["## Keypoints, by number", "", *names])


def _plainly(card: Card) -> str:
    """How to load the weights without headstart, or why that is not possible."""
    library, _, name = card.backbone.rpartition("/")
    classes = len(card.classes)
    if card.head.place == "beside":
        return (
            f"The head ({card.head.kind}) lies beside the network, in head.safetensors: "
            f"{WEIGHTS} alone holds the network that makes its codes, with the classifier that "
            "network began with. So it is loaded with headstart."
        )
    if card.normalization == "group":
        return "No library builds this network with GroupNorm; it is loaded with headstart."
    if card.backbone in SIDE_HEADS:
        return "Its side heads do not have these classes; it is loaded with headstart."
    if library == "torchvision":
        imported = "import torchvision"
        built = f'torchvision.models.get_model("{name}", weights=None, num_classes={classes})'
    else:
        name = EMBEDDED_IN_TIMM if card.backbone == EMBEDDED else name
        imported = "import timm"
        built = f'timm.create_model("{name}", num_classes={classes})'
    return (
        f"Or without headstart:\n\n```python\n{imported}\n"
        "from safetensors.torch import load_file\n\n"
        f"network = {built}\n"
        f'network.load_state_dict(load_file("{WEIGHTS}"))\n'
        "network.eval()\n```"
    )


def _classes(card: CommonCard) -> str:
    names = [f"{i}. {_code(name)}" for i, name in enumerate(card.classes[:LISTED_CLASSES])]
    left = len(card.classes) - len(names)
    more = [f"\n... and {left} more: see `classes` in model.json."] if left else []
    return "\n".join(["## Classes, by number", "", *names, *more])


def _limits(card: AnyCard) -> str:
    if isinstance(card, Card):
        own = "It answers one of its classes for every image, also where none is right."
        doubt = "Whether its probabilities are as sure as they say was not checked."
    else:
        own = "It knows its classes alone: other things are passed over, or taken for one of them."
        doubt = (
            "Its scores rank what it finds; a score of 0.9 does not mean right in 9 of 10 cases."
        )
    lines = [
        "## Limits",
        "",
        f"- {own}",
        "- The accuracies hold for images like those of the study; other cameras, places or times "
        "can lower them. Measure again on images of your own.",
        f"- {doubt}",
    ]
    if card.provenance.pretraining is not None:
        licence = card.provenance.pretraining.licence
        stated = f"are licensed {_code(licence)}" if licence else "come with no stated licence"
        lines.append(f"- The weights it began with {stated}; look up what that allows.")
    return "\n".join(lines)


def _code(text: str) -> str:
    """The text as a Markdown code span, on one line."""
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def _three(values: tuple[float, ...]) -> str:
    return f"({', '.join(f'{value:.4g}' for value in values)})"
