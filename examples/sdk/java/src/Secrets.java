import com.azure.core.credential.TokenCredential;
import com.azure.core.exception.HttpResponseException;
import com.azure.core.http.rest.PagedIterable;
import com.azure.core.http.rest.PagedResponse;
import com.azure.core.util.polling.SyncPoller;
import com.azure.security.keyvault.secrets.SecretClient;
import com.azure.security.keyvault.secrets.SecretClientBuilder;
import com.azure.security.keyvault.secrets.models.DeletedSecret;
import com.azure.security.keyvault.secrets.models.KeyVaultSecret;
import com.azure.security.keyvault.secrets.models.SecretProperties;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/** All that can be done with secrets. What it makes has names of its own, and is purged at the end. */
final class Secrets {
    private static final int MANY = 30; // more than a page
    private static final int PAGE_SIZE = 25; // of Key Vault
    private static final String FIRST_VALUE = "first välue\nwith two lines";
    private static final String SECOND_VALUE = "second";

    private final Walk walk;
    private final SecretClient client;
    private final String prefix = "walk-java-" + UUID.randomUUID().toString().substring(0, 8);
    private final String name = prefix + "-one";
    private final String versioned = prefix + "-versions";
    private final List<String> listed =
        IntStream.range(0, MANY).mapToObj(n -> String.format("%s-list-%02d", prefix, n)).toList();
    private final OffsetDateTime now = OffsetDateTime.now(ZoneOffset.UTC).truncatedTo(ChronoUnit.SECONDS);
    private final OffsetDateTime notBefore = now.minusHours(1);
    private final OffsetDateTime expiresOn = now.plusDays(1);
    private KeyVaultSecret first;
    private KeyVaultSecret second;
    private byte[] backup;

    Secrets(Walk walk, TokenCredential credential) {
        this.walk = walk;
        client = new SecretClientBuilder().vaultUrl(walk.vaultUrl).credential(credential).buildClient();
    }

    void walk() throws Walk.StepFailed {
        walk.step("set", this::set);
        walk.step("get", this::get);
        walk.step("set-again", this::setAgain);
        walk.step("get-version", this::getVersion);
        walk.step("update", this::update);
        walk.step("update-version", this::updateVersion);
        walk.step("disabled", () -> refusal(403, "Forbidden", () -> client.getSecret(name, version(first))));
        walk.step("not-found", () -> refusal(404, "SecretNotFound", () -> client.getSecret(prefix + "-nothing")));
        walk.step("bad-name", () -> refusal(400, "BadParameter", () -> client.getSecret("under_score")));
        walk.step("list", this::list);
        walk.step("list-versions", this::listVersions);
        walk.step("delete", this::delete);
        walk.step("get-deleted", this::getDeleted);
        walk.step("set-deleted", () -> refusal(409, "Conflict", () -> client.setSecret(name, "third")));
        walk.step("recover", this::recover);
        walk.step("backup", this::backup);
        walk.step("purge", this::purge);
        walk.step("restore", this::restore);
        walk.step("list-deleted", this::listDeleted);
        walk.step("clean-up", this::cleanUp);
    }

    private void set() throws Exception {
        first = client.setSecret(new KeyVaultSecret(name, FIRST_VALUE).setProperties(new SecretProperties()
            .setContentType("text/plain").setTags(Map.of("one", "1", "two", "2")).setEnabled(true)
            .setNotBefore(notBefore).setExpiresOn(expiresOn)));
        SecretProperties properties = first.getProperties();
        Walk.check("name", first.getName().equals(name));
        Walk.check("version", version(first).length() == 32);
        Walk.check("value", first.getValue().equals(FIRST_VALUE));
        Walk.check("enabled", properties.isEnabled());
        Walk.check("created", Duration.between(now, properties.getCreatedOn()).abs().toMinutes() < 1);
        Walk.check("recovery level", properties.getRecoveryLevel().startsWith("Recoverable"));
        checkFirst(properties);
    }

    private void get() throws Exception {
        KeyVaultSecret got = client.getSecret(name);
        Walk.check("id", got.getId().equals(first.getId()));
        Walk.check("value", got.getValue().equals(FIRST_VALUE));
        checkFirst(got.getProperties());
    }

    private void checkFirst(SecretProperties properties) throws Exception {
        Walk.check("content type", "text/plain".equals(properties.getContentType()));
        Walk.check("tags", Map.of("one", "1", "two", "2").equals(properties.getTags()));
        Walk.check("not before", notBefore.isEqual(properties.getNotBefore()));
        Walk.check("expires", expiresOn.isEqual(properties.getExpiresOn()));
    }

    private void setAgain() throws Exception {
        second = client.setSecret(name, SECOND_VALUE);
        Walk.check("a new version", !version(second).equals(version(first)));
        Walk.check("no content type", second.getProperties().getContentType() == null);
        Map<String, String> tags = second.getProperties().getTags();
        Walk.check("no tags", tags == null || tags.isEmpty());
    }

    private void getVersion() throws Exception {
        Walk.check("first value", client.getSecret(name, version(first)).getValue().equals(FIRST_VALUE));
        Walk.check("second value", client.getSecret(name, version(second)).getValue().equals(SECOND_VALUE));
        Walk.check("current value", client.getSecret(name).getValue().equals(SECOND_VALUE));
    }

    private void update() throws Exception {
        // Only what a list gives has no version.
        SecretProperties current = client.listPropertiesOfSecrets().stream()
            .filter(item -> item.getName().equals(name)).findFirst().orElseThrow();
        Walk.check("no version", current.getVersion() == null);
        SecretProperties updated = client.updateSecretProperties(
            current.setContentType("application/json").setTags(Map.of("three", "3")));
        Walk.check("version", updated.getId().equals(second.getId()));
        Walk.check("content type", "application/json".equals(updated.getContentType()));
        Walk.check("tags", Map.of("three", "3").equals(updated.getTags()));
        Walk.check("enabled", updated.isEnabled());
    }

    private void updateVersion() throws Exception {
        SecretProperties updated = client.updateSecretProperties(first.getProperties().setEnabled(false));
        Walk.check("version", updated.getId().equals(first.getId()));
        Walk.check("disabled", !updated.isEnabled());
        checkFirst(updated);
    }

    private void list() throws Exception {
        listed.forEach(n -> client.setSecret(n, n));
        List<SecretProperties> found = paged(client.listPropertiesOfSecrets());
        Walk.check("what is listed", own(found.stream().map(SecretProperties::getName)).equals(listed));
    }

    private void listVersions() throws Exception {
        List<String> versions = IntStream.range(0, MANY)
            .mapToObj(n -> version(client.setSecret(versioned, String.valueOf(n)))).sorted().toList();
        List<SecretProperties> found = paged(client.listPropertiesOfSecretVersions(versioned));
        Walk.check("what is listed", found.stream().map(SecretProperties::getVersion).sorted().toList().equals(versions));
    }

    private void delete() throws Exception {
        SyncPoller<DeletedSecret, Void> poller = client.beginDeleteSecret(name);
        DeletedSecret deleted = poller.poll().getValue();
        poller.waitForCompletion();
        Walk.check("id", deleted.getId().equals(second.getId()));
        Walk.check("content type", "application/json".equals(deleted.getProperties().getContentType()));
    }

    private void getDeleted() throws Exception {
        refusal(404, "SecretNotFound", () -> client.getSecret(name));
        DeletedSecret deleted = client.getDeletedSecret(name);
        Duration kept = Duration.between(deleted.getDeletedOn(), deleted.getScheduledPurgeDate());
        Integer days = deleted.getProperties().getRecoverableDays();
        Walk.check("id", deleted.getId().equals(second.getId()));
        Walk.check("recovery id", deleted.getRecoveryId().endsWith("/deletedsecrets/" + name));
        Walk.check("date of the purge", kept.toDays() >= 7 && (days == null || kept.equals(Duration.ofDays(days))));
    }

    private void recover() throws Exception {
        SyncPoller<KeyVaultSecret, Void> poller = client.beginRecoverDeletedSecret(name);
        KeyVaultSecret recovered = poller.poll().getValue();
        poller.waitForCompletion();
        Walk.check("recovered id", recovered.getId().equals(second.getId()));
        KeyVaultSecret got = client.getSecret(name);
        checkSecond(got);
        Walk.check("tags", Map.of("three", "3").equals(got.getProperties().getTags()));
    }

    private void checkSecond(KeyVaultSecret got) throws Exception {
        Walk.check("id", got.getId().equals(second.getId()));
        Walk.check("value", got.getValue().equals(SECOND_VALUE));
        Walk.check("content type", "application/json".equals(got.getProperties().getContentType()));
        Walk.check("created", got.getProperties().getCreatedOn().isEqual(second.getProperties().getCreatedOn()));
    }

    private void backup() throws Exception {
        backup = client.backupSecret(name);
        Walk.check("a backup", backup.length > 0);
        String shown = new String(backup, StandardCharsets.ISO_8859_1);
        Walk.check("a backup that shows no value", !shown.contains(SECOND_VALUE));
    }

    private void purge() throws Exception {
        client.beginDeleteSecret(name).waitForCompletion();
        client.purgeDeletedSecret(name);
        refusal(404, "SecretNotFound", () -> client.getDeletedSecret(name));
    }

    private void restore() throws Exception {
        KeyVaultSecret restored = client.restoreSecretBackup(backup);
        Walk.check("restored id", restored.getId().equals(second.getId()));
        checkSecond(client.getSecret(name));
        refusal(403, "Forbidden", () -> client.getSecret(name, version(first)));
    }

    private void listDeleted() throws Exception {
        List<SyncPoller<DeletedSecret, Void>> pollers = listed.stream().map(client::beginDeleteSecret).toList();
        pollers.forEach(SyncPoller::waitForCompletion);
        List<DeletedSecret> found = paged(client.listDeletedSecrets());
        Walk.check("what is listed", own(found.stream().map(DeletedSecret::getName)).equals(listed));
    }

    private void cleanUp() throws Exception {
        for (String n : List.of(name, versioned)) {
            client.beginDeleteSecret(n).waitForCompletion();
        }
        Stream.concat(Stream.of(name, versioned), listed.stream()).forEach(client::purgeDeletedSecret);
        refusal(404, "SecretNotFound", () -> client.getDeletedSecret(versioned));
    }

    private static String version(KeyVaultSecret secret) {
        return secret.getProperties().getVersion();
    }

    /** The sorted names of the listed secrets that are ours: the vault may hold others. */
    private List<String> own(Stream<String> names) {
        return names.filter(n -> n.startsWith(prefix + "-list-")).sorted().toList();
    }

    /** Fails unless the vault refuses with this status and code. */
    private static void refusal(int status, String code, Runnable ask) throws Exception {
        try {
            ask.run();
        } catch (HttpResponseException e) {
            Walk.check("status " + status, e.getResponse().getStatusCode() == status);
            Walk.check("code " + code, Objects.toString(e.getMessage()).contains("\"code\":\"" + code + "\""));
            return;
        }
        Walk.check("a refusal, " + status, false);
    }

    /** Gathers all items of a list, which must have more than one page and none too long. */
    private static <T> List<T> paged(PagedIterable<T> list) throws Exception {
        List<T> all = new ArrayList<>();
        int pages = 0;
        for (PagedResponse<T> page : list.iterableByPage()) {
            Walk.check("length of pages", page.getValue().size() <= PAGE_SIZE);
            all.addAll(page.getValue());
            pages++;
        }
        Walk.check("more than one page", pages > 1);
        return all;
    }
}
