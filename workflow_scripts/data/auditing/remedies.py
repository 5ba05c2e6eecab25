"""What can be done about each kind of finding, in a sentence for whoever keeps the dataset."""

REMEDIES: dict[str, str] = {
    "misplaced_file": "Move the questions to a .json file in the subset's own folder, or delete the file.",
    "unreadable_file": "Check that the file is complete JSON in UTF-8; get it again if it was cut short.",
    "no_rows": "Write the rows as one list, or as the list under questions, data, annotations or items.",
    "not_an_object": "Write the row as an object with TaskType, ImageName, Question and Answer; of CSV, with its "
    "header's number of cells.",
    "unknown_split": "Give the row a split that `split` or `lists` of the dataset's entry knows.",
    "bad_cell": "Correct the value, or the cell in the dataset's entry: its pattern, values, otherwise, bands or "
    "options.",
    "doubled_key": "Remove one of the two keys from the row.",
    "bad_text": "Write the text anew in valid Unicode.",
    "unknown_task": "Correct TaskType to a spelling that the documents list, or add the task to the registry.",
    "no_question": "Give the row a question.",
    "too_long": "Look at the row: a whole file may have been written into one field.",
    "superseded": "Nothing is to be done: the row of the file with answers is used.",
    "no_image_named": "Write the image's name, or a list of names, into ImageName.",
    "missing_image": "Add the file or correct the name; close names are listed where there are any. "
    "The policy missing_image: repair goes on with a row's other images.",
    "ambiguous_image": "Write more of the path into ImageName, so that one file alone fits.",
    "unreadable_image": "Open the file yourself, and replace it if it is damaged.",
    "unreadable_volume": "Open the file in a viewer, and get it again if it is damaged. Of a file of several volumes, "
    "name one by the dataset's `frame`.",
    "unknown_orientation": "Write the volume again from its DICOM series, so that its header says where left is; "
    "resample an oblique one to axial slices.",
    "not_hounsfield": "Give the rescale by the dataset's `slope` and `intercept`; set `windows: grey` for MR.",
    "unused_volume": "Name the volume in the table, or take the file out of the folder.",
    "unreadable_dicom": "Get the file again from the archive; a file of an old program may need DICOM's preamble.",
    "not_an_image": "Nothing is to be done: what is about an image is not one.",
    "unsupported_dicom": "Export it again as explicit little endian, or as JPEG 2000 or JPEG lossless.",
    "no_pixel_data": "Export the file again, with its pixels.",
    "bad_pixel_data": "Get the file again from the archive, and open it in a viewer.",
    "not_deidentified": "Look which element is damaged; a file that was de-identified elsewhere needs phi: removed.",
    "identifier_in_text": "Take names, numbers and dates of persons out of the table.",
    "burned_in_text": "Look at the image. The policy burned_in: mask blackens text that is seen, keep takes "
    "all such images as they are.",
    "mixed_series": "Split the series, and name the part that is meant by files or instances; or correct the row.",
    "duplicate_instance": "Remove one of the two files; where they differ, look which one is right.",
    "missing_slice": "Export the series again, whole.",
    "uneven_slices": "Take a reconstruction with even spacing, or resample the series.",
    "bad_geometry": "Export the series again from the scanner's own images.",
    "wrong_rescale": "Export the series again from the scanner's own images.",
    "ambiguous_series": "Name the series, an instance or a file in the table; modalities: leaves other kinds out.",
    "no_answer": "Add the answer. The policy no_answer: keep lets the row into splits that are submitted.",
    "wrong_answer_type": "Write the answer in the type of its task, or correct TaskType.",
    "answer_not_an_option": "Correct the answer or the options. The policy answer_not_an_option: keep takes it as is.",
    "invalid_number": "Correct the number; a count is a whole number from 0.",
    "invalid_box": "Correct the corners. The policy invalid_box: repair puts them in order and cuts them to the image. "
    "Where many rows of a subset are listed, set its box_convention under policies.conventions.",
    "outlier": "Check the unit. The policy outlier: keep takes the value, outlier_spread moves the bound.",
    "duplicate": "Nothing is to be done: the first of the equal rows is used.",
    "contradiction": "Decide which answer is right and remove the other row. The policy contradiction: keep has both.",
    "leaked_image": "Training splits leave the row out by themselves. Remove the image from one of the folders.",
    "leaked_case": "Training splits leave the row out by themselves. If the two are different patients, "
    "give the subset's pattern under policies.cases.",
    "near_duplicate": "Compare the two images. If they are of one patient, remove the earlier folder's row; "
    "no split leaves it out by itself.",
    "stretched_image": "Look whether the structures are seen. The policy deep_images: range keeps the whole range.",
    "deep_colours": "Look whether 8 bits a colour show what is asked for.",
    "first_frame": "Save the frame that the question is about as a file of its own, if it is another.",
    "swapped_boxes": "Look at the image and exchange the two answers if they are swapped.",
    "repaired": "Look at some of the rows: is the repair what you want?",
    "kept_defect": "The policies ask for it; set the policy to quarantine to leave such rows out.",
}
"""By kind: every reason and finding of `data.conversion.reasons`."""
