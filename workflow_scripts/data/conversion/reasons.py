"""The fixed vocabulary of what can be wrong with a row.

`REASONS` put a row into quarantine, one reason a row, the first that applies in this order. `FINDINGS` are what
the audit reports besides.
"""

REASONS: dict[str, str] = {
    "misplaced_file": "the question file lies elsewhere than in its subset's folder, in a zip, or is of another form",
    "unreadable_file": "the question file is not JSON that can be read, or too large",
    "no_rows": "the JSON holds not one list of rows (a list, or an object with questions, data, annotations or items)",
    "not_an_object": "the row is not a JSON object, or not of its table's columns",
    "unknown_split": "the row of a table names no split folder",
    "bad_cell": "a value of a table cannot be read as the dataset's entry says",
    "doubled_key": "a key stands more than once in the row, so that a value of it is lost",
    "bad_text": "the row holds text that is not valid Unicode (half a surrogate pair)",
    "unknown_task": "TaskType is not a spelling of a known task",
    "no_question": "the question is missing or empty",
    "too_long": "the question or the answer is too long to be one",
    "superseded": "the file with answers (_withGT) has the same row",
    "no_image_named": "ImageName is missing, empty, or neither a name nor a list of names",
    "missing_image": "an image that the row names is not in the dataset",
    "ambiguous_image": "an image name fits several files",
    "unreadable_image": "an image cannot be decoded, or is too large",
    "unreadable_volume": "a volume is damaged, cut short, too large, or none",
    "unknown_orientation": "a volume does not say which way left is, or lies too oblique for axial slices",
    "not_hounsfield": "a volume is shown by windows of CT, and its values are no Hounsfield units",
    "unused_volume": "no row of the table names the volume",
    "unreadable_dicom": "a DICOM file is empty, cut short, or cannot be parsed",
    "not_an_image": "a DICOM file is a report, a plan, a segmentation or the like",
    "unsupported_dicom": "a DICOM file has a transfer syntax that is not decoded",
    "no_pixel_data": "a DICOM file ends before its pixel data",
    "bad_pixel_data": "the pixel data of a DICOM file are not what its header says, or cannot be decoded",
    "not_deidentified": "a DICOM file could not be de-identified, and nothing of it was used",
    "identifier_in_text": "a question, an answer or a group names somebody whom a DICOM file names",
    "burned_in_text": "a DICOM image shows text, or may",
    "mixed_series": "files of one DICOM series, or images of one row, are of several patients, sizes, orientations, "
    "phases or kinds",
    "duplicate_instance": "a DICOM instance is there twice",
    "missing_slice": "a DICOM series lacks slices",
    "uneven_slices": "slices of a DICOM series do not lie at one distance",
    "bad_geometry": "a DICOM series does not say where its slices lie, or what it says is impossible",
    "wrong_rescale": "the rescale of a DICOM image is missing or gives no values",
    "ambiguous_series": "a row names several DICOM series of which one is a volume",
    "no_answer": "the answer is null, empty or None",
    "wrong_answer_type": "the answer is not of its task's type",
    "answer_not_an_option": "the answer is none of the options in the question",
    "invalid_number": "the answer is not a finite number (of a count: not a whole number from 0)",
    "invalid_box": "a box is not four finite numbers, is empty, or leaves the image",
    "outlier": "the number is far outside the range of its question",
    "duplicate": "an earlier row has the same images, task, question and answer",
    "contradiction": "another row has the same images, task and question, and another answer",
}
"""Reason and meaning, in the order in which they are looked for."""

FINDINGS: dict[str, str] = {
    "leaked_image": "the image, or one of equal pixels, is in an evaluated split folder too",
    "leaked_case": "the case is in an evaluated split folder too",
    "near_duplicate": "an image of an evaluated split folder looks the same: another encoding or size, or a crop",
    "stretched_image": "the image has more than 8 bits of grey, and what lies between two values is stretched to 8",
    "deep_colours": "the image has more than 8 bits a colour, of which the upper 8 are used",
    "first_frame": "the image has several frames, of which the first is used",
    "swapped_boxes": "the fetal head's box is smaller than the pubic symphysis' on the same image",
    "repaired": "a policy repaired the row",
    "kept_defect": "a policy kept the row in spite of a defect",
}
"""What the audit reports of rows that are kept."""
