"""Whether the files in deploy/ and the guide about them say what is so."""
