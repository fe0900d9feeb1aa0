"""Signal processing over matrices of samples; numpy only. Used by ``media.graph``."""
