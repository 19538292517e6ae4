package dev.octet.mla.ffm;

import java.util.Arrays;

/**
 * The groups of rows that are worked on at a time: their numbers, and which tasks of each pass are whose. A thread
 * keeps its own, so that a call leaves little behind.
 */
final class Wave {
    /** A row of numbers for each group. */
    long[] numbers;
    /** For each pass the first task of each group, and the number of tasks behind the last. */
    final int[][] firsts;

    /**
     * Room for four groups at first.
     *
     * @param numbers of a group
     * @param passes over all groups
     */
    Wave(int numbers, int passes) {
        this.numbers = new long[4 * numbers];
        firsts = new int[passes][5];
    }

    /** Makes room for one group more than there are. */
    void makeRoom(int count) {
        if (count == firsts[0].length - 1) {
            numbers = Arrays.copyOf(numbers, 2 * numbers.length);
            for (int pass = 0; pass < firsts.length; pass++) {
                firsts[pass] = Arrays.copyOf(firsts[pass], 2 * count + 1);
            }
        }
    }

    /** Gives a group so many tasks in a pass. */
    void add(int pass, int group, int tasks) {
        firsts[pass][group + 1] = firsts[pass][group] + tasks;
    }

    /** {@return how many tasks a pass over so many groups has} */
    int tasks(int pass, int count) {
        return firsts[pass][count];
    }

    /** {@return the last of so many groups whose first task is not after this one; groups before it may have none} */
    int groupOf(int task, int pass, int count) {
        int low = 0;
        int high = count - 1;
        while (low < high) {
            int middle = (low + high + 1) >>> 1;
            if (firsts[pass][middle] <= task) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        return low;
    }

    /** {@return which of its group's tasks one is} */
    int within(int task, int pass, int group) {
        return task - firsts[pass][group];
    }
}
