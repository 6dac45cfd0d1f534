package keyvault

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/airlock-secrets/airlock/localcloud/clouds"
)

// Error is an answer that refuses. One constructor below makes each, so that status, codes and text stay together. The
// texts are the service's own; where one is not known from a recording or a capture, its constructor says so.
// Shape: https://learn.microsoft.com/azure/key-vault/general/authentication-requests-and-responses#error-responses
type Error struct {
	Status  int
	Code    string
	Inner   string // code of the inner error; "": none
	Message string

	challenge bool // the answer carries WWW-Authenticate
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// body is the answer's JSON.
func (e *Error) body() any {
	type inner struct {
		Code string `json:"code"`
	}
	type content struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Inner   *inner `json:"innererror,omitempty"`
	}
	c := content{Code: e.Code, Message: e.Message}
	if e.Inner != "" {
		c.Inner = &inner{e.Inner}
	}
	return struct {
		Error content `json:"error"`
	}{c}
}

func unauthorized(message string) *Error {
	return &Error{Status: http.StatusUnauthorized, Code: "Unauthorized", Message: message, challenge: true}
}

// Recorded: challenge_401_mtls_pop_then_set.json.
func errNoToken() *Error {
	return unauthorized("AKV10000: Request is missing a Bearer, PoP, or MTLS_POP token.")
}

// Seen at the service by many: a token whose signature does not verify.
func errSignature(header string) *Error {
	return unauthorized("AKV10046: Unable to resolve the key used for signature validation. EncodedJwtHeader: '" + header + "'.")
}

// Seen at the service: an expired token. A token that is not a JWT gets the same code without its prefix.
func errExpired() *Error { return unauthorized("[TokenExpired] Error validating token: 'S2S12086'.") }

func errNotAToken() *Error { return unauthorized("Error validating token: 'S2S12086'.") }

func errAudience(want, found string) *Error {
	return unauthorized("AKV10022: Invalid audience. Expected " + want + ", found: " + found + ".")
}

// Source: the test AuthenticateCrossTenant of the Azure SDK for .NET and its page on troubleshooting.
func errIssuer(want, found string) *Error {
	return unauthorized("AKV10032: Invalid issuer. Expected one of " + want + ", found " + found + ".")
}

const recoveryHelp = "If you recently deleted this secret you may be able to recover it using the correct recovery command. " +
	"For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"

// Recorded: get_nonexisting_404.json. The id is NAME or NAME/VERSION.
func errSecretNotFound(id string) *Error {
	return &Error{Status: http.StatusNotFound, Code: "SecretNotFound",
		Message: "A secret with (name/id) " + id + " was not found in this key vault. " + recoveryHelp}
}

// Recorded: get_disabled_403.json.
func errDisabled() *Error {
	return &Error{Status: http.StatusForbidden, Code: "Forbidden", Inner: "SecretDisabled",
		Message: "Operation get is not allowed on a disabled secret."}
}

func forbidden(inner, message string) *Error {
	return &Error{Status: http.StatusForbidden, Code: "Forbidden", Inner: inner, Message: message}
}

// Source: https://learn.microsoft.com/azure/key-vault/general/rest-error-codes, and seen at the service.
func errAccessPolicy(c *call, permission string) *Error {
	return forbidden("AccessDenied", "The user, group or application '"+c.caller.String()+"' does not have secrets "+permission+
		" permission on key vault '"+c.vault.place()+"'. For help resolving this issue, please see "+
		"https://go.microsoft.com/fwlink/?linkid=2125287")
}

// Seen at the service. Its headers were recorded: forbidden_by_rbac_headers_3p.json.
func errRBAC(c *call, action string) *Error {
	return forbidden("ForbiddenByRbac", "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny "+
		"assignments or role definitions were changed recently, please observe propagation time.\r\nCaller: "+c.caller.String()+
		"\r\nAction: '"+actionPrefix+action+"'\r\nResource: '"+c.vault.resourceID(c.name)+"'\r\nAssignment: (not found)\r\n"+
		"DenyAssignmentId: null\r\nDecisionReason: null \r\nVault: "+c.vault.place()+"\r\n")
}

// Source: https://learn.microsoft.com/azure/key-vault/general/network-security, and seen at the service.
func errFirewall(c *call) *Error {
	return forbidden("ForbiddenByFirewall", "Client address is not authorized and caller is not a trusted service.\r\n"+
		"Client address: "+c.address()+"\r\nCaller: "+c.caller.String()+"\r\nVault: "+c.vault.place())
}

// Seen at the service; what comes behind the first sentence is that of errFirewall.
func errPublicAccess(c *call) *Error {
	return forbidden("ForbiddenByFirewall", "Public network access is disabled and request is not from a trusted service nor via "+
		"an approved private link.\r\nCaller: "+c.caller.String()+"\r\nVault: "+c.vault.place())
}

// place names a vault as errors do.
func (v *vault) place() string { return v.name + ";location=" + v.Location }

// Recorded: list_versions_order_by_version_id.json.
func errDeletedNotFound(name string) *Error {
	return &Error{Status: http.StatusNotFound, Code: "SecretNotFound", Message: "Deleted Secret not found: " + name}
}

// Recorded for keys and certificates, with their own word in place of Secret.
func errBeingDeleted() *Error {
	return &Error{Status: http.StatusConflict, Code: "Conflict", Inner: "ObjectIsBeingDeleted",
		Message: "Secret is currently being deleted."}
}

// The service's text is not known.
func errPurgeProtected(name, vault string) *Error {
	return &Error{Status: http.StatusForbidden, Code: "Forbidden",
		Message: "Operation purge is not allowed on secret " + name + ", because purge protection is enabled for key vault " +
			vault + "."}
}

// Recorded: backup_purge_restore_conflict_then_ok.json.
func errRestoreConflict(id string) *Error {
	return &Error{Status: http.StatusConflict, Code: "Conflict", Message: "There was a conflict restoring the secret '" + id +
		"'. This can happen if either: a second secret with the same name was created after the first secret was deleted; thus " +
		"trying to restore a secret whose name is already in use. To fix this, rename the second secret to something else so " +
		"that the restore works. The second probable cause of this exception is when multiple operations are performed in " +
		"parallel against the secret. To avoid this error, perform operations against a secret in a sequential manner."}
}

func badBackup(message string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "Malformed backup blob", Message: message}
}

// Recorded: restore_malformed_backup_400.json.
func errBackupCorrupt() *Error { return badBackup("Backup blob is corrupt.") }

// Recorded beside the one above.
func errBackupVersion() *Error { return badBackup("Backup blob contains invalid or corrupt version.") }

// The service's text is not known.
func errTooManyVersions() *Error {
	return badParameter(fmt.Sprintf("A secret with more than %d versions cannot be backed up.", maxBackupVersions))
}

// Seen at the service.
func errDeletedButRecoverable(name string) *Error {
	return &Error{Status: http.StatusConflict, Code: "Conflict", Inner: "ObjectIsDeletedButRecoverable",
		Message: "Secret " + name + " is currently in a deleted but recoverable state, and its name cannot be reused; in this " +
			"state, the secret can only be recovered or purged."}
}

func badParameter(message string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "BadParameter", Message: message}
}

// Seen at the service.
func errName(name string) *Error {
	return badParameter("The request URI contains an invalid name: " + name)
}

// Seen at the service for properties that are too long; the two spaces are its own. That it also stands for a value of
// more than 25 KB and for a missing value is an assumption.
func errProperty() *Error { return badParameter("Property  has invalid value\r\n") }

// The service's text for a body that is not JSON is not known.
func errBody() *Error { return badParameter("The request body is not valid JSON.") }

// Seen at Azure Stack Hub; the service's own text is not known.
func errAPIVersion(version string) *Error {
	return badParameter("The specified version (" + version + ") is not recognized. Consider using the latest supported version (" +
		newestAPIVersion + ").")
}

// The service's text is not known.
func errNoAPIVersion() *Error { return badParameter("The query parameter api-version is missing.") }

// The service's text is not known.
func errMaxResults() *Error {
	return badParameter(fmt.Sprintf("The query parameter maxresults must be an integer from 1 to %d.", maxPage))
}

// The service's text is not known.
func errSkipToken() *Error { return badParameter("The query parameter $skiptoken is invalid.") }

// Recorded: outcontenttype_on_plain_secret_400.json. No secret here belongs to a certificate.
func errOutContentType() *Error {
	return badParameter("The 'Unsupported' to 'PEM' transformation is not supported. Only PFX to PEM transformation is supported.")
}

// Recorded: set_empty_name_405.json.
func errMethod(method string) *Error {
	return &Error{Status: http.StatusMethodNotAllowed, Code: "MethodNotAllowed", Message: "HTTP " + method + " not allowed"}
}

// The service's text is not known.
func errTooLarge() *Error {
	return &Error{Status: http.StatusRequestEntityTooLarge, Code: "RequestEntityTooLarge",
		Message: "The request body is too large."}
}

// Seen at the service. It sends no Retry-After by itself.
func errThrottled() *Error {
	return &Error{Status: http.StatusTooManyRequests, Code: "Throttled", Message: "Request was not processed because too many " +
		"requests were received. Reason: VaultRequestTypeLimitReached"}
}

// Refuse answers with an error that was asked for, in the shape of the service. The texts of those that are not
// throttling are those of https://learn.microsoft.com/azure/key-vault/general/rest-error-codes, shortened.
func (s *Service) Refuse(w http.ResponseWriter, r *http.Request, status int) {
	v := s.vaultOf(r)
	if v != nil {
		s.setHeaders(w.Header(), v, r)
	}
	e := &Error{Status: status, Code: strings.ReplaceAll(http.StatusText(status), " ", ""), Message: "A fault was asked for."}
	switch status {
	case http.StatusUnauthorized:
		e = errExpired()
		if v != nil {
			w.Header().Set("WWW-Authenticate", v.challenge())
		}
	case http.StatusTooManyRequests:
		e = errThrottled()
	case http.StatusInternalServerError:
		e.Code, e.Message = "InternalServerError", "The service encountered an internal error. Please retry your request."
	case http.StatusServiceUnavailable:
		e.Code, e.Message = "ServiceUnavailable", "The service is temporarily unavailable. Please retry your request."
	}
	writeError(w, e)
}

// errors that only an emulator has; each says what to do.

func errUnknownVault(host string) *Error {
	if name, isDirect := clouds.DirectVault(host); isDirect {
		host = name + "." + clouds.All[0].VaultSuffix
	}
	return &Error{Status: http.StatusNotFound, Code: "VaultNotProvisioned", Message: "The local cloud has no vault https://" +
		host + "/. Provision it: put its URL into the .env of the project, start with --vault https://" + host +
		"/ or --any-vault, or name it in localcloud.Config.Provision.Vaults."}
}

func errNotImplemented(part, what string) *Error {
	return &Error{Status: http.StatusNotImplemented, Code: "NotImplementedByLocalCloud", Message: "The local cloud serves " +
		"secrets only, not /" + part + " (" + what + "). Its page of limitations lists what it leaves out."}
}

// The service's text is not known.
func errNoRoute() *Error {
	return &Error{Status: http.StatusNotFound, Code: "NotFound", Message: "Key Vault has no such path."}
}

func errInternal() *Error {
	return &Error{Status: http.StatusInternalServerError, Code: "InternalServerError",
		Message: "The local cloud failed; its log says why."}
}
