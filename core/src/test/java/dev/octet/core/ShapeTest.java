package dev.octet.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class ShapeTest {
    @Test
    void elementsAreTheProduct() {
        assertEquals(1, Shape.of().elements());
        assertEquals(0, Shape.of(3, 0, 5).elements());
        assertEquals(576L * 7168, Shape.of(576, 7168).elements());
        assertEquals(Long.MAX_VALUE, Shape.of(Long.MAX_VALUE, 1).elements());
        assertEquals(1L << 62, Shape.of(1L << 31, 1L << 31).elements());
        assertEquals(0, Shape.of(Long.MAX_VALUE, Long.MAX_VALUE, 0).elements());
    }

    @Test
    void tooManyElementsAreRefused() {
        for (long[] dims : new long[][] {{1L << 32, 1L << 31}, {1L << 32, 1L << 32}, {Long.MAX_VALUE, 2},
            {3037000500L, 3037000500L}, {1L << 21, 1L << 21, 1L << 21}}) {
            assertTrue(assertThrows(IllegalArgumentException.class, () -> Shape.of(dims)).getMessage()
                    .contains("more than 2^63-1"));
        }
    }

    @Test
    void negativeExtentsAreRefusedByIndex() {
        assertTrue(assertThrows(IllegalArgumentException.class, () -> Shape.of(0, -1)).getMessage()
                .contains("dims[1] is -1"));
    }

    @Test
    void shapesAreValues() {
        long[] dims = {2, 3};
        Shape shape = Shape.of(dims);
        dims[0] = 9;
        shape.toArray()[1] = 9;
        assertArrayEquals(new long[] {2, 3}, shape.toArray());
        assertEquals(Shape.of(2, 3), shape);
        assertEquals(Shape.of(2, 3).hashCode(), shape.hashCode());
        assertNotEquals(Shape.of(3, 2), shape);
        assertNotEquals(Shape.of(2, 3, 1), shape);
        assertTrue(shape.is(2, 3) && Shape.of(5).is(5) && Shape.of(0, 4).is(0, 4));
        assertFalse(shape.is(3, 2) || shape.is(2, 4) || shape.is(2) || Shape.of(2, 3, 1).is(2, 3));
        assertFalse(Shape.of(5).is(4) || Shape.of(5).is(5, 1) || Shape.of().is(1));
        assertEquals("[2, 3]", shape.toString());
        assertEquals(2, shape.rank());
        assertThrows(IndexOutOfBoundsException.class, () -> shape.dim(2));
        assertThrows(IndexOutOfBoundsException.class, () -> shape.dim(-1));
    }
}
