package dev.octet.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The project's pages: links between them lead somewhere, and what they say of the build is so. */
class PagesTest {
    private static final Path ROOT = Path.of(System.getProperty("basedir", "")).toAbsolutePath().getParent();
    private static final Pattern LINK = Pattern.compile("\\]\\(([^):#]*)(?:#([^)]*))?\\)");

    private static List<Path> pages() throws IOException {
        try (Stream<Path> files = Files.walk(ROOT, 5)) {
            return files.filter(f -> f.toString().endsWith(".md") && !ROOT.relativize(f).toString().contains("target"))
                    .toList();
        }
    }

    @Test
    void linksLeadSomewhere() throws IOException {
        List<String> broken = new ArrayList<>();
        int links = 0;
        for (Path page : pages()) {
            Matcher link = LINK.matcher(Files.readString(page));
            while (link.find()) {
                links++;
                Path target = link.group(1).isEmpty() ? page : page.resolveSibling(link.group(1));
                if (!Files.exists(target) || link.group(2) != null && !anchors(target).contains(link.group(2))) {
                    broken.add(ROOT.relativize(page) + ": " + link.group());
                }
            }
        }
        assertEquals(List.of(), broken);
        assertTrue(links > 50, "links found: " + links);
    }

    /** Headings as links name them. */
    private static List<String> anchors(Path page) throws IOException {
        return Files.readAllLines(page).stream().filter(l -> l.startsWith("#"))
                .map(l -> l.replaceFirst("^#+ ", "").toLowerCase(Locale.ROOT).replaceAll("[^\\w\\s-]", "")
                        .replace(' ', '-'))
                .toList();
    }

    /** Who imports the parent as a BOM names no version of any of our artifacts, native jars included. */
    @Test
    void theParentManagesEveryArtifact() throws IOException {
        String pom = Files.readString(ROOT.resolve("pom.xml"));
        String managed = pom.substring(pom.indexOf("<dependencyManagement>"), pom.indexOf("</dependencyManagement>"));
        for (String folder : List.of("core", "cuda-bindings", "fp8", "mla", "moe")) {
            Matcher id = Pattern.compile("<artifactId>(octet-[a-z0-9]+)</artifactId>")
                    .matcher(Files.readString(ROOT.resolve(folder).resolve("pom.xml")));
            assertTrue(id.find(), folder);
            String entry = "<artifactId>" + id.group(1) + "</artifactId>\\s*<version>\\$\\{project.version}</version>\\s*";
            assertTrue(Pattern.compile(entry + "</dependency>").matcher(managed).find(), id.group(1));
            boolean hasNative = Files.isDirectory(ROOT.resolve(folder).resolve("src/main/c"));
            assertEquals(hasNative, Pattern.compile(entry + "<classifier>linux-x86_64</classifier>").matcher(managed)
                    .find(), "native jar of " + id.group(1));
        }
    }
}
