import java.util.Map;

/**
 * Walks through Azure Key Vault with Microsoft's Java SDK as it comes: default options, and no mention of Airlock but the
 * vault's URL. ../README.md says what each step is.
 */
public final class Walk {
    /** The kinds of machines that a program may find itself on, told from one another by the environment. */
    private static final Map<String, Place> PLACES = Map.of(
        "app", walk -> new Secrets(walk, SignIn.inApp(walk)).walk(),
        "certificate", SignIn::withCertificate,
        "pod", SignIn::inPod,
        "vm", walk -> SignIn.withManagedIdentity(walk, "Identity not found"),
        "app-service",
        walk -> SignIn.withManagedIdentity(walk, "No User Assigned or Delegated Managed Identity found"));

    final String vaultUrl;
    private int passed;

    private Walk(String vaultUrl) {
        this.vaultUrl = vaultUrl;
    }

    public static void main(String[] args) {
        String vaultUrl = System.getenv("AIRLOCK_VAULT_URL");
        if (args.length != 1 || !PLACES.containsKey(args[0]) || vaultUrl == null) {
            System.err.println("usage: AIRLOCK_VAULT_URL=https://VAULT.vault.azure.net/ java Walk "
                + "app|certificate|pod|vm|app-service");
            System.exit(1);
        }
        Walk walk = new Walk(vaultUrl);
        try {
            PLACES.get(args[0]).walk(walk);
        } catch (StepFailed failed) {
            System.err.println("FAIL " + failed.getMessage());
            for (Throwable cause = failed.getCause(); cause != null; cause = cause.getCause()) {
                System.err.println("     " + cause);
            }
            System.exit(1);
        }
        System.out.println(walk.passed + " steps passed");
    }

    /** Does one step, and tells that it is done. */
    void step(String name, Step step) throws StepFailed {
        try {
            step.run();
        } catch (Exception e) {
            throw new StepFailed(name, e);
        }
        passed++;
        System.out.println("ok  " + name);
    }

    /** Says that the SDK has nothing for a step. */
    void lacks(String name, String why) {
        System.out.println("--  " + name + ": " + why);
    }

    /** Names what is not as it should be, and never shows it: it may be a secret. */
    static void check(String what, boolean holds) throws Difference {
        if (!holds) {
            throw new Difference("not as it should be: " + what);
        }
    }

    interface Place {
        void walk(Walk walk) throws StepFailed;
    }

    interface Step {
        void run() throws Exception;
    }

    static final class Difference extends Exception {
        private static final long serialVersionUID = 1;

        Difference(String what) {
            super(what);
        }
    }

    static final class StepFailed extends Exception {
        private static final long serialVersionUID = 1;

        StepFailed(String step, Exception cause) {
            super(step, cause);
        }
    }
}
