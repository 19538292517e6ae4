package dev.octet.benchmarks.demo;

import java.io.IOException;

/** A model file whose bytes are not what they should be. The message names the file, the place and the fault. */
final class ModelFormatException extends IOException {
    private static final long serialVersionUID = 1;

    ModelFormatException(String message) {
        super(message);
    }
}
