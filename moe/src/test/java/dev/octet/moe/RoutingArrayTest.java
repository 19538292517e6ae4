package dev.octet.moe;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class RoutingArrayTest {
    @Test
    void expertsOfViewsAreInRowMajorOrder() {
        try (Routing r = Routings.of(new int[][] {{0, 5, -1}, {4, 2, 1}})) {
            assertArrayEquals(new int[] {0, 5, -1, 4, 2, 1}, r.expertsToArray(6));
            Routing part = new Routing(r.experts().slice(1, 1, 3), r.weights().slice(1, 1, 3));
            assertArrayEquals(new int[] {5, -1, 2, 1}, part.expertsToArray(6));
            Routing turned = new Routing(r.experts().transpose(0, 1), r.weights().transpose(0, 1));
            assertArrayEquals(new int[] {0, 4, 5, 2, -1, 1}, turned.expertsToArray(6));
        }
        try (Routing none = Routing.allocate(0, 3); Routing noChoice = Routing.allocate(3, 0)) {
            assertEquals(0, none.expertsToArray(1).length);
            assertEquals(0, noChoice.expertsToArray(1).length);
        }
    }

    @Test
    void expertsThatAreNotThereAreRefusedByToken() {
        try (Routing r = Routings.of(new int[][] {{0, 1}, {2, 3}}); Routing low = Routings.of(new int[][] {{0, -2}})) {
            assertEquals("experts[1, 1] is 3, there are 3 experts; -1 stands for none",
                    assertThrows(IllegalArgumentException.class, () -> r.expertsToArray(3)).getMessage());
            assertThrows(IllegalArgumentException.class, () -> low.expertsToArray(3));
        }
    }
}
