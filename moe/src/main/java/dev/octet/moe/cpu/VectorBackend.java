package dev.octet.moe.cpu;

/** Backend {@code cpu}: kernels on the Vector API. This class itself loads without the Vector API. */
public final class VectorBackend extends KernelsBackend {
    /** For the service loader. */
    public VectorBackend() {
        super(Way.VECTOR);
    }

    @Override
    RouterKernels routerKernels() {
        return VectorRouterKernels.KERNELS;
    }

    @Override
    GateKernels gateKernels() {
        return VectorGateKernels.KERNELS;
    }

    @Override
    RowKernels rowKernels() {
        return VectorRowKernels.KERNELS;
    }

    @Override
    SwigluKernels swigluKernels() {
        return VectorSwigluKernels.KERNELS;
    }
}
