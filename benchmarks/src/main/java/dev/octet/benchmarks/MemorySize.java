package dev.octet.benchmarks;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.RoundingMode;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/**
 * An amount of memory as it was written.
 *
 * @param text as it was written
 * @param bytes what it means, rounded down
 */
record MemorySize(String text, long bytes) {
    private static final Pattern FORM = Pattern.compile("([0-9]{1,30})(\\.[0-9]{1,30})? ?([KMGT]?I?B)");
    private static final Map<Character, Integer> STEPS = Map.of('K', 1, 'M', 2, 'G', 3, 'T', 4);
    private static final String[] UNITS = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};

    /** Reads {@code 80GiB}, {@code 1.5 TB} or {@code 4096B}. */
    static final class Converter implements ITypeConverter<MemorySize> {
        @Override
        public MemorySize convert(String text) {
            Matcher m = FORM.matcher(text.toUpperCase(Locale.ROOT));
            if (!m.matches()) {
                throw new TypeConversionException("'" + text + "' is no size like 80GiB or 1.5TB");
            }
            String unit = m.group(3);
            if (unit.equals("IB")) {
                throw new TypeConversionException("'" + text + "' has no known unit; take B, KB, KiB and so on");
            }
            BigDecimal base = BigDecimal.valueOf(unit.endsWith("IB") ? 1024 : 1000);
            String digits = m.group(1) + (m.group(2) == null ? "" : m.group(2));
            BigInteger bytes = new BigDecimal(digits).multiply(base.pow(STEPS.getOrDefault(unit.charAt(0), 0)))
                    .toBigInteger();
            if (bytes.bitLength() > 63) {
                throw new TypeConversionException("'" + text + "' is more than 2^63-1 bytes");
            }
            return new MemorySize(text, bytes.longValueExact());
        }
    }

    /** {@return a number of bytes in the largest unit that leaves at least 1, with two decimals} */
    static String of(long bytes) {
        if (bytes < 1024) {
            return bytes + " B";
        }
        int step = (63 - Long.numberOfLeadingZeros(bytes)) / 10;
        BigDecimal unit = BigDecimal.valueOf(1024).pow(step);
        BigDecimal value = BigDecimal.valueOf(bytes).divide(unit, 2, RoundingMode.HALF_EVEN);
        return value + " " + UNITS[step - 1];
    }

    @Override
    public String toString() {
        return text;
    }
}
