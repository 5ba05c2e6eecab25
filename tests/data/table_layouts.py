"""Published tables imitated: their files, columns and quirks, with drawn images."""

import io
import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.data.roots import png

CHEXPERT = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture"),
    "Support Devices",
)
"""Columns of labels, in the order of CheXpert's tables."""

MIMIC = sorted(CHEXPERT)
"""Columns of labels, in the order of MIMIC-CXR's table."""


def parquet(rows: list[dict]) -> bytes:
    """A table with images in it, as `datasets` writes one."""
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("question", pa.string()), ("answer", pa.string())])
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), stream)
    return stream.getvalue()


def question(number: int, text: str, answer: str) -> dict:
    """A row whose image is drawn for its number."""
    return {"image": {"bytes": png(number, 40, 32), "path": None}, "question": text, "answer": answer}


def vqa_rad(count: int = 24) -> dict[str, bytes]:
    """VQA-RAD: two Parquet files; the first third of the test's images is in training too."""

    def rows(first: int, number: int) -> list[dict]:
        listed = []
        for i in range(first, first + number):
            listed += [question(i, "is there a fracture?", "yes" if i % 3 else "No")]
            listed += [question(i, "what organ is shown?", ("lung", "liver", "brain")[i % 3])]
        return listed

    test = rows(0, count // 6) + rows(500, count // 3)
    return {
        "README.md": b"---\nlicense: cc0-1.0\n---\n",
        "data/train-00000-of-00001-eb8844602202be60.parquet": parquet(rows(0, count)),
        "data/test-00000-of-00001-e5bc3d208bb4deeb.parquet": parquet(test),
    }


def path_vqa(count: int = 8) -> dict[str, bytes]:
    """PathVQA: Parquet in several parts."""

    def rows(first: int) -> bytes:
        numbers = range(first, first + count)
        yes = [question(i, "is necrosis present?", "yes" if i % 2 else "no") for i in numbers]
        return parquet(yes + [question(i, "what is shown?", f"tissue {i % 3}") for i in numbers])

    return {
        "data/train-00000-of-00002.parquet": rows(1000),
        "data/train-00001-of-00002.parquet": rows(1100),
        "data/validation-00000-of-00001.parquet": rows(1200),
        "data/test-00000-of-00001.parquet": rows(1300),
    }


def slake(count: int = 6) -> dict[str, bytes]:
    """SLAKE: three lists of questions in two languages, and a zip whose images are all called source.jpg."""
    files: dict[str, bytes] = {"mask.txt": b"", "KG.zip": b""}
    archive, number = io.BytesIO(), 0
    with zipfile.ZipFile(archive, "w") as packed:
        for name in ("train", "validation", "test"):
            rows = []
            for place in range(count):
                image = f"xmlab{number}/source.jpg"
                stream = io.BytesIO()
                Image.open(io.BytesIO(png(2000 + number, 40, 32))).save(stream, "JPEG")
                packed.writestr(f"imgs/{image}", stream.getvalue())
                packed.writestr(f"imgs/xmlab{number}/question.json", "[]")
                for language in ("en", "zh"):
                    for kind, text, answer in (
                        ("OPEN", "What organ is shown?", ("Liver", "Lung")[place % 2]),
                        ("CLOSED", "Is the lung healthy?", ("Yes", "No")[place % 2]),
                    ):
                        rows.append(
                            {
                                **{"img_id": number, "img_name": image, "question": text, "answer": answer},
                                **{"q_lang": language, "location": "Lung", "modality": ("MRI", "CT")[place % 2]},
                                **{"answer_type": kind, "base_type": "vqa", "content_type": "Organ"},
                                **{"triple": ["vhead", "_", "_"], "qid": len(rows) + 1000 * len(files)},
                            }
                        )
                number += 1
            files[f"{name}.json"] = json.dumps(rows, ensure_ascii=False).encode()
    return files | {"imgs.zip": archive.getvalue()}


def write_files(folder: Path, files: dict[str, bytes | str]) -> Path:
    """Write files below a folder."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def chexpert(folder: Path, studies: int = 12) -> Path:
    """CheXpert-v1.0-small: a row an image, frontal and lateral; 1, 0, -1 or a blank a label."""
    files: dict[str, bytes | str] = {}
    for name, first, count in (("train", 1, studies), ("valid", 64541, max(2, studies // 2))):
        lines = [",".join(("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT))]
        for number in range(first, first + count):
            labels = {"Cardiomegaly": "1.0" if number % 2 else "0.0", "Edema": "-1.0" if number % 3 == 0 else ""}
            labels["Atelectasis"] = "1.0" if number % 4 == 1 else ""
            study = f"{name}/patient{number:05d}/study1"
            for view, side in (
                (f"{study}/view1_frontal.jpg", "Frontal,AP"),
                (f"{study}/view2_lateral.jpg", "Lateral,"),
            ):
                cells = [f"CheXpert-v1.0-small/{view}", "Female" if number % 2 else "Male", str(20 + number % 60), side]
                lines.append(",".join(cells + [labels.get(name, "") for name in CHEXPERT]))
                files[view] = png(3000 + number + 7 * len(view), 40, 32)
        files[f"{name}.csv"] = "\n".join(lines) + "\n"
    return write_files(folder, files)


def chestx_ray14(folder: Path, count: int = 18) -> Path:
    """ChestX-ray14: one table with commas inside two heads of columns, two lists, twelve folders of images."""
    head = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    lines = [head + "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"]
    names, files = [], {}
    findings = ("Cardiomegaly|Effusion", "No Finding", "Pleural_Thickening", "Atelectasis")
    for number in range(count):
        name = f"{number // 2:08d}_{number % 2:03d}.png"
        names.append(name)
        lines.append(
            f"{name},{findings[number % 4]},{number % 2},{number // 2},{30 + number},M,PA,2682,2749,0.143,0.143,"
        )
        files[f"images_{1 + number // 10:03d}/images/{name}"] = png(4000 + number, 40, 32)
    cut = 2 * (count // 3)
    files |= {"Data_Entry_2017_v2020.csv": "\n".join(lines) + "\n"}
    expert = [lines[0].removesuffix(",") + ",Fracture,Pneumothorax,Airspace opacity,Nodule or mass,Set Id"]
    for number, line in enumerate(lines[cut + 1 :]):
        opacity = "" if number == 0 else "YES"
        expert.append(f"{line.removesuffix(',')},NO,{('YES', 'NO')[number % 2]},{opacity},NO,test")
    files["four_findings_expert_labels/test_labels.csv"] = "\n".join(expert) + "\n"
    files |= {"train_val_list.txt": "\n".join(names[:cut]), "test_list.txt": "\n".join(names[cut:]) + "\n"}
    return write_files(folder, files)


def mimic_cxr(folder: Path, studies: int = 12) -> Path:
    """MIMIC-CXR-JPG: labels a study, split and view an image, packed tables, images by patient and study."""
    import gzip

    labels = [",".join(("subject_id", "study_id", *MIMIC))]
    split, metadata = ["dicom_id,study_id,subject_id,split"], ["dicom_id,subject_id,study_id,ViewPosition,Rows,Columns"]
    files: dict[str, bytes | str] = {}
    for number in range(studies):
        subject, study = 10000032 + number // 2, 50414267 + number
        name = ("train", "train", "validate", "test")[number * 4 // studies]
        values = {"Edema": "-1.0", "Pleural Effusion": "1.0" if number % 2 else "0.0"}
        if number != 1:  # one study has no labels
            labels.append(",".join([str(subject), str(study), *(values.get(column, "") for column in MIMIC)]))
        for view in ("PA", "LATERAL"):
            dicom = f"{number:08x}-{view.lower()}"
            split.append(f"{dicom},{study},{subject},{name}")
            metadata.append(f"{dicom},{subject},{study},{view},3056,2544")
            path = f"files/p{str(subject)[:2]}/p{subject}/s{study}/{dicom}.jpg"
            files[path] = png(5000 + number + 100 * len(view), 40, 32)
    for table, lines in (("chexpert", labels), ("split", split), ("metadata", metadata)):
        files[f"mimic-cxr-2.0.0-{table}.csv.gz"] = gzip.compress("\n".join(lines).encode() + b"\n")
    return write_files(folder, files)
