package dev.octet.core.json;

/** Text that is not the JSON that was expected. */
public final class JsonException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** The byte in the memory that was read, from its start. */
    private final long position;

    /**
     * Makes the exception.
     *
     * @param position the byte in the memory that was read, from its start
     * @param message what is wrong there
     */
    public JsonException(long position, String message) {
        super(message);
        this.position = position;
    }

    /** {@return the byte in the memory that was read, from its start} */
    public long position() {
        return position;
    }
}
