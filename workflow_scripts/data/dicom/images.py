"""A series as images of a question: PNGs of slices, of frames or of radiographs, and nothing else of the files."""

import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import PIL.Image
from pydicom.dataset import FileDataset

from workflow_scripts.data.dicom.burned_in import declared, masked, regions_of, text_lines
from workflow_scripts.data.dicom.codecs import BadPixels, stored_frames
from workflow_scripts.data.dicom.reading import BadDicom, read_whole, silent
from workflow_scripts.data.dicom.rendering import colour_levels, grey_levels, modality_values
from workflow_scripts.data.dicom.scanning import Options
from workflow_scripts.data.dicom.series import Series, Slice
from workflow_scripts.data.sources.record import SourceImage
from workflow_scripts.data.volumes.sampling import sampled_places
from workflow_scripts.data.volumes.slices import GREY, slice_images
from workflow_scripts.data.volumes.volume import Volume, hounsfield_fault


class Showing(NamedTuple):
    """How images are shown; see `DicomDataset`."""

    windows: str
    most_slices: int
    burned_in: str
    implausible: str


class Shown(NamedTuple):
    """The images of a series, or why there are none."""

    images: tuple[SourceImage, ...] = ()
    fault: tuple[str, str] | None = None


def show(series: Sequence[Series], options: Options, showing: Showing) -> list[Shown]:
    """The images of each series; nothing is raised for any of them."""
    shown = []
    for one in series:
        try:
            with silent():
                shown.append(Shown(images_of(one, options, showing)))
        except BadDicom as error:
            shown.append(Shown(fault=(error.reason, str(error))))
        except BadPixels as error:
            shown.append(Shown(fault=("bad_pixel_data", str(error))))
        except Exception as error:  # noqa: BLE001 - its text may quote the file
            shown.append(Shown(fault=("bad_pixel_data", f"the pixels cannot be decoded ({type(error).__name__})")))
    return shown


def images_of(series: Series, options: Options, showing: Showing) -> tuple[SourceImage, ...]:
    """The images of a series, all of them or those that a volume's sampling takes.

    Raises:
        BadDicom: they may show text, or are no values of their modality.
        Exception: whatever a decoder raises on damaged bytes.
    """
    name = f"series-{series.name.removeprefix('2.25.')[:16]}"
    if series.volume:
        return _volume_images(series, name, options, showing)
    several = len(series.slices) > 1
    images = []
    for number, (item, dataset) in enumerate(_read(_sampled(series, showing.most_slices), options), 1):
        role = f"frame {number}" if len(item.instance.frames) > 1 else ""
        pixels = _still(item, dataset, options, showing)
        file = f"{name}/{number:03d}.png" if several else f"{name}.png"
        images.append(SourceImage(file, data=_png(pixels), role=role))
    return tuple(images)


def _sampled(series: Series, most: int) -> list[Slice]:
    """Each still image, and of each file of several frames those that are sampled."""
    by_file: dict[str, list[Slice]] = {}
    for item in series.slices:
        by_file.setdefault(item.instance.file, []).append(item)
    return [listed[place] for listed in by_file.values() for place in sampled_places(len(listed), most)]


def _volume_images(series: Series, name: str, options: Options, showing: Showing) -> tuple[SourceImage, ...]:
    chosen = [series.slices[place] for place in sampled_places(len(series.slices), showing.most_slices)]
    values = np.empty((len(chosen), series.first.rows, series.first.columns), dtype=np.float32)
    for number, (item, dataset) in enumerate(_read(chosen, options)):
        said = declared(dataset, item.instance.modality, item.instance.secondary)
        if said and showing.burned_in != "keep":
            raise BadDicom("burned_in_text", f"of a slice {said}; slices are not masked")
        if series.first.modality == "CT" and not _has_rescale(dataset):
            raise BadDicom("wrong_rescale", "RescaleSlope or RescaleIntercept is missing, which CT must have")
        [(stored, _)] = stored_frames(dataset, [item.frame])
        values[number] = modality_values(dataset, stored, item.frame)
    is_ct = series.first.modality == "CT"
    fault = hounsfield_fault(values) if is_ct and showing.implausible == "quarantine" else None
    if fault is not None:
        raise BadDicom("not_hounsfield", fault)
    volume = Volume(values, len(series.slices))
    return slice_images(volume, showing.windows if is_ct else GREY, name)


def _has_rescale(dataset: FileDataset) -> bool:
    by_frame = "PerFrameFunctionalGroupsSequence" in dataset
    return by_frame or "ModalityLUTSequence" in dataset or ("RescaleSlope" in dataset and "RescaleIntercept" in dataset)


def _still(item: Slice, dataset: FileDataset, options: Options, showing: Showing) -> npt.NDArray[np.uint8]:
    """A frame as its file wants it shown, (rows, columns) or (rows, columns, 3), after text was looked for."""
    [(stored, meaning)] = stored_frames(dataset, [item.frame])
    colour = stored.ndim == 3 or meaning == "PALETTE COLOR"
    pixels = colour_levels(dataset, stored) if colour else grey_levels(dataset, stored, item.frame)
    if showing.burned_in == "keep":
        return pixels
    said = declared(dataset, item.instance.modality, item.instance.secondary)
    if options.phi == "removed":
        said = said if said and str(dataset.get("BurnedInAnnotation")).strip() == "YES" else None
        if said is None:
            return pixels
    regions = regions_of(dataset)
    lines = text_lines(pixels)
    if showing.burned_in == "mask":
        if said and not regions and not lines:
            raise BadDicom("burned_in_text", f"{said}; neither regions nor lines of text tell what is to be masked")
        return masked(pixels, regions, lines)
    if lines:
        first = lines[0]
        count = f"{len(lines)} lines" if len(lines) > 1 else "a line"
        where = (
            f"first of {first.characters} characters at ({first.left}, {first.top}) to ({first.right}, {first.bottom})"
        )
        raise BadDicom("burned_in_text", f"{count} of what looks like text, the {where}")
    if said:
        raise BadDicom("burned_in_text", f"{said}; no line of text is seen")
    return pixels


def _read(slices: Sequence[Slice], options: Options) -> Iterator[tuple[Slice, FileDataset]]:
    """Each slice with its whole file, de-identified and read once; what is done was counted with the header."""
    profile, place, dataset = options.profile(), None, None
    for item in slices:
        if dataset is None or place != item.instance.place:
            dataset, place = read_whole(item.instance.place), item.instance.place
            if options.phi == "unknown":
                profile.apply(dataset)
        yield item, dataset


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, "PNG", compress_level=3)
    return stream.getvalue()
