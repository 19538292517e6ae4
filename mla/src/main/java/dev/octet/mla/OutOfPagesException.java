package dev.octet.mla;

/** A {@link LatentKvCache} has too few free pages for what was asked; nothing has changed. */
public final class OutOfPagesException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /** How many pages would have been needed. */
    private final long needed;
    /** How many were free. */
    private final int free;

    OutOfPagesException(long needed, int free) {
        super(needed + (needed == 1 ? " page is" : " pages are") + " needed and " + free + (free == 1 ? " is" : " are")
                + " free; no sequence was changed");
        this.needed = needed;
        this.free = free;
    }

    /** {@return how many pages the call would have taken} */
    public long needed() {
        return needed;
    }

    /** {@return how many were free} */
    public int free() {
        return free;
    }
}
