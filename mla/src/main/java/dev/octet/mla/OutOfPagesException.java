package dev.octet.mla;

/** A {@link LatentKvCache} has too few free pages for what was asked; nothing has changed. */
public final class OutOfPagesException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final int needed;
    private final int free;

    OutOfPagesException(int needed, int free) {
        super(needed + " pages are needed and " + free + " are free; no sequence was changed");
        this.needed = needed;
        this.free = free;
    }

    /** {@return how many pages the call would have taken} */
    public int needed() {
        return needed;
    }

    /** {@return how many were free} */
    public int free() {
        return free;
    }
}
