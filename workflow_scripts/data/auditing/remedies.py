"""What can be done about each kind of finding, in a sentence for whoever keeps the dataset."""

REMEDIES: dict[str, str] = {
    "misplaced_file": "Move the questions to a .json file in the subset's own folder, or delete the file.",
    "unreadable_file": "Check that the file is complete JSON in UTF-8; get it again if it was cut short.",
    "no_rows": "Write the rows as one list, or as the list under questions, data, annotations or items.",
    "not_an_object": "Write the row as an object with TaskType, ImageName, Question and Answer.",
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
