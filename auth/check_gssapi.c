/*
 * auth/check_gssapi.c - a client's tokens of GSSAPI, as the acceptor that Kerberos knows by the
 * keys of a keytab (RFC 1961, RFC 4121). Runs in a checker, the only kind of process that has these
 * keys; blocks for krb5.conf and the replay cache.
 *
 * A context that is made leaves as its session key and numbers only: krb5's own form of export
 * would make who imports it look into files.
 */
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/auth.h"
#include "base/text.h"
#include "wire/keytab.h"

#define KEYTAB_NAME "MEMORY:sallyport"

static gss_OID_desc krb5_oid = {9, (void *)(uintptr_t) "\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"};
static gss_OID_desc spnego_oid = {6, (void *)(uintptr_t) "\x2b\x06\x01\x05\x05\x02"};

static struct {
	krb5_context krb5;
	krb5_keytab keytab; /* as long as it is open, it is there */
	gss_cred_id_t us;
	char *realm; /* the default one; NULL: there is none */
	gss_buffer_desc token;
	char why[512];
	uint32_t last;
	struct unfinished {
		uint32_t context; /* 0: free */
		gss_ctx_id_t gss;
		int64_t until_ms;
	} unfinished[GSSAPI_UNFINISHED];
} acceptor;

/* ---- the keys ----------------------------------------------------------------------------- */

static krb5_data
data_of(const struct keytab_part *p)
{
	return (krb5_data){.length = p->len, .data = (char *)(uintptr_t)p->at};
}

static krb5_error_code
add_key(const struct keytab_entry *e)
{
	krb5_data parts[KEYTAB_COMPONENTS];
	krb5_principal_data principal = {
	    .realm = data_of(&e->realm),
	    .data = parts,
	    .length = (krb5_int32)e->component_count,
	    .type = (krb5_int32)e->name_type,
	};
	krb5_keytab_entry entry = {
	    .principal = &principal,
	    .timestamp = (krb5_timestamp)e->time,
	    .vno = e->version,
	    .key = {.enctype = e->cipher,
		    .length = e->key.len,
		    .contents = (krb5_octet *)(uintptr_t)e->key.at},
	};

	for (unsigned i = 0; i < e->component_count; i++)
		parts[i] = data_of(&e->components[i]);
	return krb5_kt_add_entry(acceptor.krb5, acceptor.keytab, &entry);
}

static krb5_error_code
take_keys(const void *keytab, size_t len)
{
	struct keytab_entry e;
	size_t at = 0;
	krb5_error_code error = krb5_init_context(&acceptor.krb5);

	if (error == 0)
		error = krb5_kt_resolve(acceptor.krb5, KEYTAB_NAME, &acceptor.keytab);
	while (error == 0 && keytab_next(keytab, len, &at, &e) == KEYTAB_ENTRY)
		error = add_key(&e);
	return error;
}

/* ---- what GSSAPI says ---------------------------------------------------------------------- */

static void
put_words(struct text *t, OM_uint32 code, int kind)
{
	OM_uint32 minor, more = 0;
	gss_buffer_desc words;

	if (gss_display_status(&minor, code, kind, GSS_C_NO_OID, &more, &words) != GSS_S_COMPLETE)
		return;
	if (t->len > 0)
		text_put(t, ": ");
	text_put_quoted(t, words.value, words.length, 200); /* may name what the client sent */
	gss_release_buffer(&minor, &words);
}

static const char *
words_of(OM_uint32 major, OM_uint32 minor)
{
	struct text t;

	text_init(&t, acceptor.why, sizeof acceptor.why);
	put_words(&t, major, GSS_C_GSS_CODE);
	if (minor != 0)
		put_words(&t, minor, GSS_C_MECH_CODE);
	return acceptor.why;
}

bool
gssapi_begin(const void *keytab, size_t len, const char *service, const char **what)
{
	gss_key_value_element_desc element = {"keytab", KEYTAB_NAME};
	gss_key_value_set_desc store = {1, &element};
	gss_OID_desc both[2] = {krb5_oid, spnego_oid};
	gss_OID_set_desc mechanisms = {2, both};
	gss_buffer_desc text = {strlen(service), (void *)(uintptr_t)service};
	gss_name_t name = GSS_C_NO_NAME;
	OM_uint32 major, minor, unused;
	krb5_error_code error = take_keys(keytab, len);

	if (error != 0) {
		*what = acceptor.krb5 != NULL ? krb5_get_error_message(acceptor.krb5, error)
					      : "krb5.conf cannot be used";
		return false;
	}
	if (krb5_get_default_realm(acceptor.krb5, &acceptor.realm) != 0)
		acceptor.realm = NULL;
	/* A service without a host: any host's key of that service. */
	major = gss_import_name(&minor, &text, GSS_C_NT_HOSTBASED_SERVICE, &name);
	if (major == GSS_S_COMPLETE)
		major = gss_acquire_cred_from(&minor, name, GSS_C_INDEFINITE, &mechanisms,
					      GSS_C_ACCEPT, &store, &acceptor.us, NULL, NULL);
	if (name != GSS_C_NO_NAME)
		gss_release_name(&unused, &name);
	*what = major != GSS_S_COMPLETE ? words_of(major, minor) : NULL;
	return major == GSS_S_COMPLETE;
}

/* ---- contexts that wait for more ------------------------------------------------------------ */

static void
give_up(struct unfinished *u)
{
	OM_uint32 minor;

	if (u->gss != GSS_C_NO_CONTEXT)
		gss_delete_sec_context(&minor, &u->gss, GSS_C_NO_BUFFER);
	*u = (struct unfinished){0};
}

/* Takes it out of the table: GSS_C_NO_CONTEXT, it is not there. */
static gss_ctx_id_t
take_up(uint32_t context, int64_t now_ms)
{
	gss_ctx_id_t gss = GSS_C_NO_CONTEXT;

	for (unsigned i = 0; i < GSSAPI_UNFINISHED; i++) {
		struct unfinished *u = &acceptor.unfinished[i];

		if (u->context != 0 && u->until_ms <= now_ms)
			give_up(u);
		if (u->context == context) {
			gss = u->gss;
			*u = (struct unfinished){0};
		}
	}
	return gss;
}

static uint32_t
keep(gss_ctx_id_t gss, int64_t until_ms)
{
	struct unfinished *at = &acceptor.unfinished[0];

	for (unsigned i = 0; i < GSSAPI_UNFINISHED && at->context != 0; i++) {
		struct unfinished *u = &acceptor.unfinished[i];

		if (u->context == 0 || u->until_ms < at->until_ms)
			at = u;
	}
	give_up(at);
	if (++acceptor.last == 0)
		acceptor.last = 1;
	*at = (struct unfinished){acceptor.last, gss, until_ms};
	return acceptor.last;
}

/* ---- a context that is made ------------------------------------------------------------------ */

/* Who has a name of the default realm is known by it; all others keep their realm. */
static void
strip_realm(struct gssapi_said *out)
{
	size_t len = acceptor.realm != NULL ? strlen(acceptor.realm) : 0;

	if (len > 0 && out->user_len > len + 1 && out->user[out->user_len - len - 1] == '@' &&
	    out->user[out->user_len - len - 2] != '\\' &&
	    memcmp(out->user + out->user_len - len, acceptor.realm, len) == 0)
		out->user_len -= len + 1;
	out->user[out->user_len] = '\0';
}

static bool
is_nobody(const struct gssapi_said *out)
{
	static const char anonymous[] = "WELLKNOWN/ANONYMOUS@";

	return out->user_len >= sizeof anonymous - 1 &&
	       memcmp(out->user, anonymous, sizeof anonymous - 1) == 0;
}

static const char *
take_name(gss_name_t name, OM_uint32 flags, struct gssapi_said *out)
{
	OM_uint32 minor;
	gss_buffer_desc text;

	if ((flags & GSS_C_ANON_FLAG) != 0)
		return "an anonymous ticket";
	if (gss_display_name(&minor, name, &text, NULL) != GSS_S_COMPLETE)
		return "a principal without a name";
	out->user_len = text.length < sizeof out->user ? text.length : 0;
	memcpy(out->user, text.value, out->user_len);
	gss_release_buffer(&minor, &text);
	if (out->user_len == 0)
		return "a principal of more than 255 bytes";
	if (is_nobody(out))
		return "an anonymous ticket";
	strip_realm(out);
	return NULL;
}

static const char *
take_key(gss_ctx_id_t *gss, struct gss_context *made)
{
	gss_krb5_lucid_context_v1_t *lucid;
	const gss_krb5_lucid_key_t *key;
	OM_uint32 minor;
	const char *fault = NULL;
	void *all;

	if (gss_krb5_export_lucid_sec_context(&minor, gss, 1, &all) != GSS_S_COMPLETE)
		return "a mechanism that is not Kerberos";
	lucid = all;
	key = lucid->cfx_kd.have_acceptor_subkey ? &lucid->cfx_kd.acceptor_subkey
						 : &lucid->cfx_kd.ctx_key;
	if (lucid->protocol != 1)
		fault = "a cipher of before RFC 4121";
	else if (key->length > sizeof made->key)
		fault = "a key that is too long";
	else {
		*made = (struct gss_context){
		    .cipher = (int32_t)key->type,
		    .key_len = key->length,
		    .acceptor_subkey = lucid->cfx_kd.have_acceptor_subkey != 0,
		    .send_seq = lucid->send_seq,
		    .receive_seq = lucid->recv_seq,
		};
		memcpy(made->key, key->data, key->length);
	}
	gss_krb5_free_lucid_sec_context(&minor, all);
	return fault;
}

/* ---- a token -----------------------------------------------------------------------------------
 */

/*
 * What fails because of us: no keys, no replay cache, no memory, a configuration. All else is the
 * client's token; not every fault of it has a number of its own.
 */
static bool
is_our_fault(OM_uint32 major, OM_uint32 minor)
{
	static const krb5_error_code ours[] = {
	    KRB5_KT_BADNAME,        KRB5_KT_UNKNOWN_TYPE,
	    KRB5_KT_IOERR,          KRB5_KT_END,
	    KRB5_CONFIG_CANTOPEN,   KRB5_CONFIG_BADFORMAT,
	    KRB5_CONFIG_NODEFREALM, KRB5_CONFIG_NOTENUFSPACE,
	};
	krb5_error_code code = (krb5_error_code)minor;

	if (GSS_ROUTINE_ERROR(major) == GSS_S_NO_CRED)
		return true;
	if (GSS_ROUTINE_ERROR(major) != GSS_S_FAILURE)
		return false;
	for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
		if (code == ours[i])
			return true;
	return (code > 0 && code < 4096 /* errno */) ||
	       (code >= KRB5_RC_TYPE_EXISTS && code <= KRB5_RC_IO_SPACE && code != KRB5_RC_REPLAY);
}

static enum auth_verdict
no(bool refused, enum auth_why *why, const char **what, const char *words)
{
	*what = words;
	*why = refused ? WHY_TICKET : WHY_BROKEN;
	return refused ? AUTH_REFUSED : AUTH_UNAVAILABLE;
}

enum auth_verdict
check_gssapi(uint32_t context, const void *token, size_t len, int64_t now_ms, int64_t until_ms,
	     struct gssapi_said *out, enum auth_why *why, const char **what)
{
	gss_buffer_desc in = {len, (void *)(uintptr_t)token};
	gss_ctx_id_t gss = GSS_C_NO_CONTEXT;
	gss_name_t name = GSS_C_NO_NAME;
	OM_uint32 major, minor, unused, flags = 0;
	const char *fault = NULL;

	memset(out, 0, sizeof *out);
	*why = WHY_NOTHING;
	*what = NULL;
	gss_release_buffer(&unused, &acceptor.token);
	if (context != 0 && (gss = take_up(context, now_ms)) == GSS_C_NO_CONTEXT)
		return no(false, why, what, "a context that is not known any more");
	major = gss_accept_sec_context(&minor, &gss, acceptor.us, &in, GSS_C_NO_CHANNEL_BINDINGS,
				       &name, NULL, &acceptor.token, &flags, NULL, NULL);
	if (major == GSS_S_CONTINUE_NEEDED) {
		out->more = true;
		out->context = keep(gss, until_ms);
		gss = GSS_C_NO_CONTEXT;
	} else if (major == GSS_S_COMPLETE) {
		if ((fault = take_name(name, flags, out)) == NULL)
			fault = take_key(&gss, &out->made);
	} else
		fault = words_of(major, minor);
	if (name != GSS_C_NO_NAME)
		gss_release_name(&unused, &name);
	if (gss != GSS_C_NO_CONTEXT)
		gss_delete_sec_context(&unused, &gss, GSS_C_NO_BUFFER);
	if (fault != NULL)
		return no(GSS_ERROR(major) == 0 || !is_our_fault(major, minor), why, what, fault);
	out->token = acceptor.token.value;
	out->token_len = acceptor.token.length;
	return AUTH_GOOD;
}
