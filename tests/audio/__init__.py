"""Sound through the audio path, measured: tones by FFT and ratio to noise, digits, gaps."""
