"""The API of AWS Key Management Service: keys that never leave, and who may use them."""
