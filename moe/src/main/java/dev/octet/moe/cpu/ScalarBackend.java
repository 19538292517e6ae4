package dev.octet.moe.cpu;

/** Backend {@code scalar}: plain Java, for JVMs without the Vector API. */
public final class ScalarBackend extends KernelsBackend {
    /** For the service loader. */
    public ScalarBackend() {
        super(Way.SCALAR);
    }

    @Override
    RouterKernels routerKernels() {
        return ScalarRouterKernels.KERNELS;
    }

    @Override
    GateKernels gateKernels() {
        return ScalarGateKernels.KERNELS;
    }

    @Override
    RowKernels rowKernels() {
        return ScalarRowKernels.KERNELS;
    }

    @Override
    SwigluKernels swigluKernels() {
        return ScalarSwigluKernels.KERNELS;
    }
}
