"""The API of AWS Security Token Service: temporary credentials."""
