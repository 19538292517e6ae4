package dev.octet.cuda;

/**
 * Which instructions a GPU has: 8.0 is A100, 8.9 Ada, 9.0 Hopper, 10.0 Blackwell.
 *
 * @param major the generation
 * @param minor the member of it
 */
public record ComputeCapability(int major, int minor) implements Comparable<ComputeCapability> {
    /** Hopper: H100, H200, H800, H20. */
    public static final ComputeCapability HOPPER = new ComputeCapability(9, 0);

    /**
     * {@return the name under which NVRTC compiles for exactly this GPU: {@code sm_90a} for Hopper, whose tensor-core
     * instructions are in no other target, else for example {@code sm_89}}
     */
    public String arch() {
        return "sm_" + major + minor + (equals(HOPPER) ? "a" : "");
    }

    /**
     * {@return the capability of an architecture's name}
     *
     * @param arch for example {@code sm_90a} or {@code sm_100}
     * @throws IllegalArgumentException if it is none
     */
    public static ComputeCapability of(String arch) {
        int number = Integer.parseInt(checked(arch).replaceAll("[^0-9]", ""));
        return new ComputeCapability(number / 10, number % 10);
    }

    /** {@return the same name, if it is one} */
    static String checked(String arch) {
        if (!arch.matches("sm_[0-9]{2,3}[af]?")) {
            throw new IllegalArgumentException("arch is '" + arch + "', takes a name like sm_80 or sm_90a");
        }
        return arch;
    }

    /** {@return whether this is that generation and member or a later one} */
    public boolean atLeast(int major, int minor) {
        return compareTo(new ComputeCapability(major, minor)) >= 0;
    }

    @Override
    public int compareTo(ComputeCapability o) {
        return major != o.major ? Integer.compare(major, o.major) : Integer.compare(minor, o.minor);
    }

    /** {@return for example {@code 9.0}} */
    @Override
    public String toString() {
        return major + "." + minor;
    }
}
