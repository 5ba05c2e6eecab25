"""What the notebooks of the course share: a run's results, its tables and images, and how they are shown.

`open_course(CONFIGURATION)` takes a configuration of the workflow. Where its results are there, they are shown; where
they are not, the workflow runs first. Two environment variables are for the tests: FLAREBENCH_COURSE_CONFIGURATION
replaces the configuration, FLAREBENCH_COURSE_FOLDER the folder in which Snakemake runs (the checkout).
"""

import base64
import io
import os
import subprocess
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
"""The checkout. A notebook starts in its own folder, from where the package is not found."""
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TQDM_DISABLE", "1")  # bars of progress are no results
warnings.filterwarnings("ignore", message="IProgress not found")
warnings.filterwarnings("ignore", category=FutureWarning)  # what libraries tell each other

import altair  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import PIL.Image  # noqa: E402
import vl_convert  # noqa: E402
from IPython.display import HTML, SVG, display  # noqa: E402
from PIL import ImageDraw, ImageFont  # noqa: E402

from workflow_scripts.core.config.datasets import LocalDataset  # noqa: E402
from workflow_scripts.core.config.systems.model import ModelSystem  # noqa: E402
from workflow_scripts.core.config.workflow import Configuration, read_configuration  # noqa: E402
from workflow_scripts.core.images import open_image  # noqa: E402
from workflow_scripts.core.rows import Row  # noqa: E402
from workflow_scripts.core.tables import read_rows  # noqa: E402
from workflow_scripts.core.tasks import tasks  # noqa: E402

BASE, TUNED, REFERENCE = "#0072b2", "#d55e00", "#56b4e9"
"""Colours of the two systems and of the reference, which colour-blind readers can tell apart (Okabe and Ito)."""

SIDE = 224
"""Pixels of the longer side of a shown image."""


@dataclass(frozen=True)
class Course:
    """One configuration with its results."""

    name: str  # of the configuration's file
    configuration: Configuration
    folder: Path  # in which Snakemake runs

    @property
    def results(self) -> Path:
        """The folder of results."""
        return self.folder / self.configuration.results

    @property
    def split(self) -> str:
        """The first evaluated split."""
        return self.configuration.evaluate[0]

    @property
    def base(self) -> str:
        """Name of the first system that is a model as it was published."""
        return self._first_system(tuned=False)

    @property
    def tuned(self) -> str:
        """Name of the first system that is a model with a recipe."""
        return self._first_system(tuned=True)

    @property
    def training(self) -> str:
        """The split that the tuned system learns from."""
        return self._model_system(self.tuned).train or ""

    @property
    def model(self) -> str:
        """Name of the base system's model."""
        return self._model_system(self.base).model

    @property
    def dataset(self) -> str:
        """Name of the evaluated split's dataset."""
        return self.configuration.splits[self.split].dataset

    @property
    def images(self) -> Path:
        """The folder that the image paths of rows start from."""
        if isinstance(self.configuration.datasets[self.dataset], LocalDataset):
            return self.folder / self.configuration.folder_of(self.dataset)
        return self.path("data/{dataset}/root")

    @property
    def judge(self) -> str:
        """Name of the first judge."""
        return next(iter(self.configuration.judges))

    def table(self, path: str) -> pd.DataFrame:
        """A table below the results; {split}, {training}, {dataset}, {base}, {tuned} and {model} are filled in."""
        return pd.read_parquet(self.path(path))

    def path(self, path: str) -> Path:
        """A file below the results, named as in `table`."""
        names = {name: getattr(self, name) for name in ("split", "training", "dataset", "base", "tuned", "model")}
        return self.results / path.format(**names)

    def rows(self, split: str) -> list[Row]:
        """The typed rows of a split."""
        return read_rows(self.results / f"splits/{split}/rows.parquet", Row)

    def image(self, row: Row, place: int = 0) -> PIL.Image.Image:
        """An image of a row, as training and inference see it."""
        return open_image(self.images, row.images[place].path)

    def judgements(self) -> pd.DataFrame:
        """Every judged pair of reports of the first judge, whatever the number of its shards."""
        shards = sorted(self.path("scores/{split}/judgements").glob(f"{self.judge}.*.parquet"))
        return pd.concat([pd.read_parquet(shard) for shard in shards])

    def limit(self, task: str) -> int:
        """Most new tokens of an answer to a task."""
        return self.configuration.inference.max_new_tokens.get(task, tasks()[task].max_new_tokens)

    def _first_system(self, tuned: bool) -> str:
        for name, system in self.configuration.systems.items():
            if isinstance(system, ModelSystem) and (system.recipe is not None) == tuned:
                return name
        raise ValueError(f"{self.name}: systems has no model {'with' if tuned else 'without'} a recipe")

    def _model_system(self, name: str) -> ModelSystem:
        system = self.configuration.systems[name]
        assert isinstance(system, ModelSystem)
        return system


def open_course(configuration: str) -> Course:
    """The results of a configuration, a path in the checkout; the workflow runs first where they are not there.

    Raises:
        subprocess.CalledProcessError: the workflow ended with an error, which it has printed.
    """
    configuration = os.environ.get("FLAREBENCH_COURSE_CONFIGURATION", configuration)
    folder = Path(os.environ.get("FLAREBENCH_COURSE_FOLDER", ROOT))
    course = Course(configuration, read_configuration(folder / configuration), folder)
    if not course.path("report/{split}/table.csv").exists():
        command = ["snakemake", "--cores", str(os.cpu_count()), "--configfile", configuration]
        print("There are no results yet:", *command)
        subprocess.run([sys.executable, "-m", *command], cwd=folder, check=True)
    pd.set_option("display.max_colwidth", 100)
    return course


def show(frame: pd.DataFrame | pd.Series, digits: int = 3) -> None:
    """A table without its index; whatever a model or a dataset wrote is escaped."""
    frame = frame.to_frame() if isinstance(frame, pd.Series) else frame
    named = [name for name in frame.index.names if name is not None]
    plain = frame.reset_index() if named else frame
    form = f"{{:.{digits}f}}".format
    display(HTML(plain.to_html(index=False, border=0, float_format=form, na_rep="", justify="left")))


def show_image(image: PIL.Image.Image, text: str) -> None:
    """An image with a text alternative."""
    data = io.BytesIO()
    image.convert("P", palette=PIL.Image.Palette.ADAPTIVE, colors=128).save(data, "PNG", optimize=True)
    shown = {"image/png": base64.b64encode(data.getvalue()).decode(), "text/plain": text}
    display(shown, raw=True, metadata={"image/png": {"alt": text}})


def show_chart(chart: altair.TopLevelMixin, text: str) -> None:
    """A chart as SVG, with a text alternative."""
    show_svg(vl_convert.vegalite_to_svg(chart.to_dict()), text)


def show_svg(svg: str, text: str) -> None:
    """A drawing with a text alternative."""
    display({"image/svg+xml": SVG(svg).data, "text/plain": text}, raw=True, metadata={"image/svg+xml": {"alt": text}})


def sheet(images: Sequence[PIL.Image.Image], captions: Sequence[str], columns: int = 4) -> PIL.Image.Image:
    """Images side by side, each above its caption of at most two lines."""
    font = ImageFont.load_default(13)
    lines = -(-len(images) // columns)
    width, height = SIDE + 16, SIDE + 48
    page = PIL.Image.new("RGB", (columns * width, lines * height), "white")
    draw = ImageDraw.Draw(page)
    for place, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left, top = 8 + place % columns * width, 8 + place // columns * height
        page.paste(enlarged(image), (left, top))
        draw.multiline_text((left, top + SIDE + 4), _two_lines(caption, font), fill="black", font=font)
    return page


def enlarged(image: PIL.Image.Image) -> PIL.Image.Image:
    """An image whose longer side has SIDE pixels."""
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(
        size, PIL.Image.Resampling.NEAREST if scale > 1 else PIL.Image.Resampling.LANCZOS
    )


def with_boxes(image: PIL.Image.Image, boxes: Iterable[Sequence[float]], colour: str) -> PIL.Image.Image:
    """An enlarged image with boxes (x1, y1, x2, y2 in pixels of the original) drawn on it."""
    scale = SIDE / max(image.size)
    page = enlarged(image)
    draw = ImageDraw.Draw(page)
    for box in boxes:
        draw.rectangle([round(side * scale) for side in box], outline=colour, width=2)
    return page


def _two_lines(text: str, font: Any) -> str:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= SIDE or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines) if len(lines) < 3 else f"{lines[0]}\n{lines[1]} …"


def moving_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of each value and the `window` - 1 before it; fewer at the start."""
    sums = np.cumsum(np.insert(np.nan_to_num(values), 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return (sums[ends] - sums[starts]) / (ends - starts)
