"""Folders of DICOM files: read, de-identified, put in order as series, and rendered as images."""
