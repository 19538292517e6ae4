package dev.octet.benchmarks.report;

import dev.octet.benchmarks.suite.Case;
import dev.octet.benchmarks.suite.Counted;
import dev.octet.benchmarks.suite.Measurement;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;

/** How many iterations were left out because others used the machine, and which cases had hardly any other. */
final class DisturbanceSection {
    private DisturbanceSection() {}

    /** Whether anything was witnessed; it was not in results of before there were witnesses. */
    static boolean isNeeded(Map<Case, Measurement> measured) {
        return measured.values().stream().anyMatch(m -> m.counted().witnessed());
    }

    static void write(Page page, Map<Case, Measurement> measured) {
        if (!isNeeded(measured)) {
            return;
        }
        List<Counted> all = measured.values().stream().map(Measurement::counted).filter(Counted::witnessed).toList();
        int iterations = all.stream().mapToInt(Counted::all).sum();
        int left = all.stream().mapToInt(c -> c.all() - c.count()).sum();
        int disturbed = all.stream().mapToInt(c -> c.all() - c.undisturbed()).sum();
        page.paragraph("Others use this machine, too, and LibTorch's threads wait in a loop for a while after their work: of "
                + iterations + " iterations, those of limits and peers included, " + disturbed + " had a witness of "
                + "computing beside them below 0.9 of its upper level in this run, and " + left + " were left out. The limit "
                + "of a case by memory is what memory gave beside its own iterations. Disturbed is a case with so few other "
                + "iterations that all count.");
        list(page, "Disturbed", measured, Counted::disturbed);
        list(page, "Run again at the end, both runs counted as one", measured,
                c -> c.runs() > 1 && c.witnessed());
    }

    private static void list(Page page, String what, Map<Case, Measurement> measured, Predicate<Counted> which) {
        List<String> cases = measured.entrySet().stream().filter(e -> which.test(e.getValue().counted()))
                .map(Map.Entry::getKey).filter(c -> !c.isProbe()).map(Case::toString).toList();
        if (!cases.isEmpty()) {
            page.paragraph(what + ":");
            page.line("");
            cases.forEach(c -> page.line("- " + c));
        }
    }

    /** For a table's cell, nothing if nothing was witnessed. */
    static String iterations(Measurement m) {
        Counted c = m.counted();
        return !c.witnessed() ? "" : c.count() + " of " + c.all() + (c.disturbed() ? ", **disturbed**" : "");
    }
}
