package dev.octet.benchmarks.peer;

import org.bytedeco.pytorch.global.torch;

/** Whether LibTorch can be used here, and which one it is. */
public final class LibTorch {
    private LibTorch() {}

    /** {@return LibTorch's version and CPU capability, or why it can't be loaded; never throws for that} */
    public static String describe() {
        try {
            return torch.show_config().getString();
        } catch (LinkageError | RuntimeException e) {
            return "not available: " + e;
        }
    }
}
