/*
 * auth/check_chap.c - a CHAP response: HMAC-MD5 of the challenge under the user's secret
 * (draft-ietf-aft-socks-chap, RFC 2104). Pure; runs in the authenticator itself.
 *
 * MD5 is no longer a good digest; as a keyed one it still hides the secret from who listens. The
 * traffic behind it is not protected by it.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "auth/auth.h"

enum auth_verdict
check_chap(const char *secret, size_t secret_len, const void *challenge, size_t challenge_len,
	   const void *response, size_t response_len)
{
	static const char nobody[] = "nobody";
	unsigned char digest[EVP_MAX_MD_SIZE];
	const char *key = secret != NULL ? secret : nobody;
	size_t key_len = secret != NULL ? secret_len : sizeof nobody - 1;
	unsigned len = 0;
	bool good;

	if (HMAC(EVP_md5(), key, (int)key_len, challenge, challenge_len, digest, &len) == NULL ||
	    len != CHAP_RESPONSE)
		return AUTH_UNAVAILABLE;
	good = response_len == CHAP_RESPONSE && secret_same(digest, response, CHAP_RESPONSE) &&
	       secret != NULL && challenge_len > 0;
	secret_wipe_bytes(digest, sizeof digest);
	return good ? AUTH_GOOD : AUTH_REFUSED;
}
