"""Queue state as rows: the contract, the batcher, and the engines that fulfil it."""
