"""The hospital's own systems: a DICOMweb client, and a DICOM node that is sent images and sends results back."""
