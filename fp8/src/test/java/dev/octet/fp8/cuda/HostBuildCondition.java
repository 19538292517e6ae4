package dev.octet.fp8.cuda;

import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.extension.ConditionEvaluationResult;
import org.junit.jupiter.api.extension.ExecutionCondition;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * Skips everything, with one visible line, in a run that is about backend {@code cuda-host} on a machine without a C++
 * compiler. Registered in {@code META-INF/services}; only that run looks there.
 */
public final class HostBuildCondition implements ExecutionCondition {
    private static final AtomicBoolean SAID = new AtomicBoolean();

    /** For the service loader. */
    public HostBuildCondition() {}

    @Override
    public ConditionEvaluationResult evaluateExecutionCondition(ExtensionContext context) {
        if (!"cuda-host".equals(System.getProperty("octet.test.require"))) {
            return ConditionEvaluationResult.enabled("another backend is tested");
        }
        return HostBuild.unavailable().map(why -> {
            if (!SAID.getAndSet(true)) {
                System.out.println("Skipped: " + why);
            }
            return ConditionEvaluationResult.disabled(why);
        }).orElseGet(() -> ConditionEvaluationResult.enabled("there is a C++ compiler"));
    }
}
