package dev.octet.cuda;

/** A kernel that NVRTC refused. The message has its log. */
public final class KernelCompileException extends CudaException {
    private static final long serialVersionUID = 1;

    /** What NVRTC printed. */
    private final String log;

    /**
     * Describes a failed compilation.
     *
     * @param source the kernel's name and how it was to be compiled
     * @param status NVRTC's status
     * @param statusName its name
     * @param log what NVRTC printed
     */
    public KernelCompileException(String source, int status, String statusName, String log) {
        super("compiling " + source, status, statusName, "\n" + log);
        this.log = log;
    }

    /** {@return what NVRTC printed, line by line} */
    public String log() {
        return log;
    }
}
