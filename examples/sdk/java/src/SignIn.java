import com.azure.core.credential.TokenCredential;
import com.azure.core.credential.TokenRequestContext;
import com.azure.identity.ClientCertificateCredentialBuilder;
import com.azure.identity.ClientSecretCredentialBuilder;
import com.azure.identity.DefaultAzureCredentialBuilder;
import com.azure.identity.ManagedIdentityCredentialBuilder;
import com.azure.identity.WorkloadIdentityCredentialBuilder;
import com.azure.json.JsonProviders;
import com.azure.json.JsonReader;
import com.azure.security.keyvault.secrets.SecretClient;
import com.azure.security.keyvault.secrets.SecretClientBuilder;
import java.io.IOException;
import java.util.Base64;
import java.util.Map;

/** Every way to sign in that needs no person. */
final class SignIn {
    private static final TokenRequestContext FOR_VAULT =
        new TokenRequestContext().addScopes("https://vault.azure.net/.default");

    private SignIn() {
    }

    /** Makes a credential, inside of a step: what its builder refuses is the step's failure too. */
    private interface Login {
        TokenCredential credential() throws Exception;
    }

    /** A step that signs in, looks whom the token speaks for, and shows it to the vault. */
    private static void signIn(Walk walk, String step, String client, Login login) throws Walk.StepFailed {
        walk.step(step, () -> {
            TokenCredential credential = login.credential();
            String who = appId(credential.getTokenSync(FOR_VAULT).getToken());
            SecretClient secrets = new SecretClientBuilder().vaultUrl(walk.vaultUrl).credential(credential).buildClient();
            secrets.listPropertiesOfSecrets().iterableByPage().iterator().next();
            Walk.check("who is signed in", client != null && client.equals(who));
        });
    }

    /** A step whose login must fail for the reason. */
    private static void refused(Walk walk, String step, String reason, Login login) throws Walk.StepFailed {
        walk.step(step, () -> {
            TokenCredential credential = login.credential();
            boolean refused = false;
            try {
                credential.getTokenSync(FOR_VAULT);
            } catch (RuntimeException e) {
                for (Throwable cause = e; cause != null; cause = cause.getCause()) {
                    refused |= String.valueOf(cause.getMessage()).contains(reason);
                }
            }
            Walk.check("the refusal " + reason, refused);
        });
    }

    /**
     * Reads the claim of an access token that says for which client it speaks. Programs have no business to look into
     * tokens; this one does, because the SDK does not tell which identity a credential found.
     */
    private static String appId(String token) throws IOException {
        try (JsonReader claims = JsonProviders.createReader(Base64.getUrlDecoder().decode(token.split("\\.")[1]))) {
            Map<String, Object> all = claims.readMap(JsonReader::readUntyped);
            return String.valueOf(all.get("appid"));
        }
    }

    private static TokenCredential byDefault() {
        return new DefaultAzureCredentialBuilder().build();
    }

    static TokenCredential inApp(Walk walk) throws Walk.StepFailed {
        String client = System.getenv("AZURE_CLIENT_ID");
        signIn(walk, "client-secret", client, () -> withSecret(System.getenv("AZURE_CLIENT_SECRET")));
        refused(walk, "wrong-client-secret", "AADSTS7000215", () -> withSecret("not-the-secret"));
        signIn(walk, "default-credential", client, SignIn::byDefault);
        return byDefault();
    }

    private static TokenCredential withSecret(String secret) {
        return new ClientSecretCredentialBuilder().tenantId(System.getenv("AZURE_TENANT_ID"))
            .clientId(System.getenv("AZURE_CLIENT_ID")).clientSecret(secret).build();
    }

    static void withCertificate(Walk walk) throws Walk.StepFailed {
        String client = System.getenv("AZURE_CLIENT_ID");
        signIn(walk, "client-certificate", client, () -> certificate().build());
        signIn(walk, "client-certificate-chain", client, () -> certificate().sendCertificateChain(true).build());
        signIn(walk, "default-credential", client, SignIn::byDefault);
    }

    private static ClientCertificateCredentialBuilder certificate() {
        return new ClientCertificateCredentialBuilder().tenantId(System.getenv("AZURE_TENANT_ID"))
            .clientId(System.getenv("AZURE_CLIENT_ID")).pemCertificate(System.getenv("AZURE_CLIENT_CERTIFICATE_PATH"));
    }

    static void inPod(Walk walk) throws Walk.StepFailed {
        String client = System.getenv("AZURE_CLIENT_ID");
        signIn(walk, "workload-identity", client, () -> new WorkloadIdentityCredentialBuilder().build());
        signIn(walk, "managed-identity", client, () -> new ManagedIdentityCredentialBuilder().build());
        signIn(walk, "default-credential", client, SignIn::byDefault);
    }

    /** Goes by the refusal of an identity that the machine has not got: each source has its own. */
    static void withManagedIdentity(Walk walk, String unknown) throws Walk.StepFailed {
        String user = System.getenv("WALK_USER_CLIENT_ID");
        signIn(walk, "system-assigned", System.getenv("WALK_SYSTEM_CLIENT_ID"), () -> machine().build());
        signIn(walk, "user-assigned-by-client-id", user, () -> machine().clientId(user).build());
        signIn(walk, "user-assigned-by-object-id", user,
            () -> machine().objectId(System.getenv("WALK_USER_OBJECT_ID")).build());
        signIn(walk, "user-assigned-by-resource-id", user,
            () -> machine().resourceId(System.getenv("WALK_USER_RESOURCE_ID")).build());
        refused(walk, "unknown-identity", unknown,
            () -> machine().clientId("00000000-0000-0000-0000-00000000dead").build());
        signIn(walk, "default-credential", System.getenv("WALK_DEFAULT_CLIENT_ID"), SignIn::byDefault);
    }

    private static ManagedIdentityCredentialBuilder machine() {
        return new ManagedIdentityCredentialBuilder();
    }
}
