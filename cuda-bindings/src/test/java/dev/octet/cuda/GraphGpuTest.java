package dev.octet.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.octet.core.Tensor;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Graphs on a GPU: recorded, launched often, given new parameters. */
class GraphGpuTest extends GpuTest {
    @Test
    void recordedOnceLaunchedOften() {
        try (Tensor values = zeros(4); Tensor others = zeros(4); CudaStream stream = gpu.newStream()) {
            KernelLaunch addOne = over("addOne", 4).setPointer(0, values).setInt(1, 4);
            KernelLaunch times = over("times", 4).setPointer(0, values).setInt(1, 4).setFloat(2, 3);
            try (CudaGraph graph = stream.capture(() -> {
                addOne.launch();
                times.launch();
            }); CudaGraphExec executable = graph.instantiate()) {
                assertFalse(stream.isCapturing());
                assertArrayEquals(new float[4], values.toFloatArray(), "recorded, not done");
                executable.launch(stream);
                executable.launch(stream);
                stream.synchronize();
                assertArrayEquals(new float[] {12, 12, 12, 12}, values.toFloatArray());

                List<CudaGraph.KernelNode> nodes = graph.kernelNodes();
                assertEquals(2, nodes.size());
                CudaGraph.KernelNode multiply = nodes.get(0).runs(times.kernel()) ? nodes.get(0) : nodes.get(1);
                CudaGraph.KernelNode add = nodes.get(0).runs(addOne.kernel()) ? nodes.get(0) : nodes.get(1);
                assertTrue(multiply.runs(times.kernel()) && add.runs(addOne.kernel()));
                executable.update(multiply, times.setFloat(2, 10));
                executable.launch(stream);
                stream.synchronize();
                assertArrayEquals(new float[] {130, 130, 130, 130}, values.toFloatArray());

                executable.update(add, addOne.setPointer(0, others));
                executable.launch(stream);
                stream.synchronize();
                assertArrayEquals(new float[] {1, 1, 1, 1}, others.toFloatArray());
                assertArrayEquals(new float[] {1300, 1300, 1300, 1300}, values.toFloatArray());
            }
        }
    }

    @Test
    void waitingCantBeRecordedAndTheStreamRecovers() {
        try (Tensor values = zeros(4); CudaStream stream = gpu.newStream()) {
            assertThrows(CudaException.class, () -> stream.capture(stream::synchronize));
            over("addOne", 4).setPointer(0, values).setInt(1, 4).launch(stream);
            stream.synchronize();
            assertArrayEquals(new float[] {1, 1, 1, 1}, values.toFloatArray());
        }
    }
}
