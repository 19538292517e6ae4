package dev.octet.cuda;

/**
 * A call of the CUDA driver, or of a library on top of it, that failed. After an error of a kernel, such as an illegal
 * address, the driver refuses all further work of the process with the same status; after any other the device stays
 * usable.
 */
public class CudaException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** What the call returned. */
    private final int status;
    /** Its name in the library's header. */
    private final String statusName;

    /**
     * Describes a failed call.
     *
     * @param call what was called
     * @param status the number that it returned
     * @param statusName the number's name, for example {@code CUDA_ERROR_INVALID_VALUE}
     * @param meaning what the library says about it
     */
    public CudaException(String call, int status, String statusName, String meaning) {
        super(call + " returned " + statusName + " (" + status + "): " + meaning);
        this.status = status;
        this.statusName = statusName;
    }

    /** {@return the status as the library's header numbers it} */
    public int status() {
        return status;
    }

    /** {@return the status by name, for example {@code CUDA_ERROR_INVALID_VALUE}} */
    public String statusName() {
        return statusName;
    }
}
