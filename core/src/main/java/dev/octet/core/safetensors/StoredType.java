package dev.octet.core.safetensors;

import dev.octet.core.DType;
import org.jspecify.annotations.Nullable;

/** The element types that the format knows, by the names it gives them. */
enum StoredType {
    BOOL(8), F4(4), F6_E2M3(6), F6_E3M2(6), U8(8), I8(8), F8_E5M2(8), F8_E4M3(8), F8_E8M0(8), F8_E4M3FNUZ(8),
    F8_E5M2FNUZ(8), I16(16), U16(16), F16(16), BF16(16), I32(32), U32(32), F32(32), C64(64), F64(64), I64(64), U64(64);

    private static final StoredType[] ALL = values();

    private final int bits;
    private final @Nullable DType dtype;

    StoredType(int bits) {
        this.bits = bits;
        DType same = null;
        for (DType d : DType.values()) {
            if (d.name().equals(name())) {
                same = d;
            }
        }
        this.dtype = same;
    }

    /** The width of an element; not always whole bytes. */
    int bits() {
        return bits;
    }

    /** The type that tensors of it have, or null. */
    @Nullable DType dtype() {
        return dtype;
    }

    static @Nullable StoredType find(String name) {
        for (StoredType t : ALL) {
            if (t.name().equals(name)) {
                return t;
            }
        }
        return null;
    }

    static StoredType[] all() {
        return ALL;
    }
}
