package dev.octet.benchmarks;

/** A failure whose message says all that a user needs: it is printed without a stack trace. */
public final class CommandFailure extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /**
     * Makes a failure.
     *
     * @param message what went wrong and what would help
     */
    public CommandFailure(String message) {
        super(message);
    }

    /**
     * Makes a failure with a cause.
     *
     * @param message what went wrong and what would help
     * @param cause what led to it
     */
    public CommandFailure(String message, Throwable cause) {
        super(message, cause);
    }
}
