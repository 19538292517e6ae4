package dev.octet.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Where a command will write, checked before its work begins. */
public final class OutputFiles {
    private OutputFiles() {}

    /**
     * Makes the folder that a file will lie in, and checks that the file can be written.
     *
     * @param option what named the file, for messages
     * @param file the file, which is neither made nor changed
     * @throws CommandFailure if it can't be written
     */
    public static void prepareFile(String option, Path file) {
        Path folder = file.toAbsolutePath().getParent();
        if (folder == null || Files.isDirectory(file)) {
            throw new CommandFailure(option + ": " + file + " is a folder, it takes a file");
        }
        prepareFolder(option, folder);
        if (Files.exists(file) && !Files.isWritable(file)) {
            throw new CommandFailure(option + ": " + file + " can't be written");
        }
    }

    /**
     * Makes a folder.
     *
     * @param option what named the folder or a file in it, for messages
     * @param folder the folder, which may be there
     * @throws CommandFailure if it can't be made, or nothing can be written into it
     */
    public static void prepareFolder(String option, Path folder) {
        for (Path p = folder.toAbsolutePath(); p != null; p = p.getParent()) {
            if (Files.exists(p) && !Files.isDirectory(p)) {
                throw new CommandFailure(option + ": " + p + " is a file, a folder is needed there");
            }
        }
        try {
            Files.createDirectories(folder);
        } catch (IOException e) {
            throw new CommandFailure(option + ": the folder " + folder + " can't be made: " + e.getMessage(), e);
        }
        if (!Files.isWritable(folder)) {
            throw new CommandFailure(option + ": nothing can be written into the folder " + folder);
        }
    }
}
