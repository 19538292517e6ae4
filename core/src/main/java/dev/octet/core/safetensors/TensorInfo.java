package dev.octet.core.safetensors;

import dev.octet.core.DType;
import dev.octet.core.Shape;
import java.util.Optional;

/**
 * What a file says about one tensor.
 *
 * @param name its name
 * @param storedType the element type in the words of the file, for example {@code F8_E4M3}; it may be one that
 *     {@link DType} lacks
 * @param shape its extents
 * @param fileOffset where its first byte lies in the file
 * @param byteSize how many bytes it has
 */
public record TensorInfo(String name, String storedType, Shape shape, long fileOffset, long byteSize) {
    /** {@return the element type, or empty if Octet has none that fits, so that the tensor can't be read} */
    public Optional<DType> dtype() {
        return Optional.ofNullable(StoredType.find(storedType)).map(StoredType::dtype);
    }
}
