"""Signature of the message in a package: enveloping XML signature, RSA with SHA-256.

What is verified is what is returned: the message is taken out of the signed object, never read
beside it. The certificate that counts is the one the receiver has of the sender; the one in the
signature only serves to name both fingerprints when they differ.
"""

import base64
import binascii

from cryptography.exceptions import InvalidSignature as WrongSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import Certificate, load_der_x509_certificate
from lxml import etree
from signxml.algorithms import (
    CanonicalizationMethod,
    DigestAlgorithm,
    SignatureConstructionMethod,
    SignatureMethod,
)
from signxml.exceptions import SignXMLException
from signxml.signer import XMLSigner
from signxml.verifier import SignatureConfiguration, XMLVerifier

from node.crs.errors import InvalidDocument, InvalidPackage
from node.crs.guard import check_pieces
from node.crs.message import local
from node.crs.package import fingerprint, public_key
from node.crs.schemas import make_parser

_NAMESPACE = "{http://www.w3.org/2000/09/xmldsig#}"
_CONFIGURATION = SignatureConfiguration(
    location="./",
    signature_methods=frozenset({SignatureMethod.RSA_SHA256}),
    digest_algorithms=frozenset({DigestAlgorithm.SHA256}),
)


def sign_message(message: bytes, key: rsa.RSAPrivateKey, certificate: Certificate) -> bytes:
    """The message within its signature. Raises `InvalidPackage`."""
    if fingerprint(public_key(certificate)) != fingerprint(key.public_key()):
        mine, other = fingerprint(key.public_key()), fingerprint(public_key(certificate))
        raise InvalidPackage("package-signer-other", f"{other}, {mine}", 50004)
    signer = XMLSigner(
        method=SignatureConstructionMethod.enveloping,
        signature_algorithm=SignatureMethod.RSA_SHA256,
        digest_algorithm=DigestAlgorithm.SHA256,
        c14n_algorithm=CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
    )
    signed = signer.sign(_parse(message), key=key, cert=[certificate])
    data: bytes = etree.tostring(signed, encoding="UTF-8", xml_declaration=True)
    return data


def open_message(signed: bytes, sender: Certificate) -> bytes:
    """The message that `sender` has signed. Raises `InvalidPackage`."""
    root = _parse(signed)
    if local(root) != "Signature":
        raise InvalidPackage("package-unsigned", local(root), 50004)
    _compare_signer(root, sender)
    try:
        result = XMLVerifier().verify(
            root, x509_cert=sender, expect_config=_CONFIGURATION, parser=make_parser()
        )
    except (SignXMLException, WrongSignature, ValueError) as error:
        raise InvalidPackage("package-signature", type(error).__name__, 50004) from None
    assert not isinstance(result, list), "one reference is expected"
    content = result.signed_xml
    if content is None:
        raise InvalidPackage("package-signature", "Object", 50004)
    if local(content) == "Object":
        if len(content) != 1:
            raise InvalidPackage("package-signature", "Object", 50004)
        content = content[0]
    data: bytes = etree.tostring(content, encoding="UTF-8", xml_declaration=True)
    return data


def _compare_signer(root: etree._Element, sender: Certificate) -> None:
    """Name both keys if the certificate in the signature is of another than the one expected."""
    expected = fingerprint(public_key(sender))
    for element in root.iter(f"{_NAMESPACE}X509Certificate"):
        try:
            der = base64.b64decode("".join((element.text or "").split()), validate=True)
            used = fingerprint(public_key(load_der_x509_certificate(der)))
        except (binascii.Error, ValueError):
            raise InvalidPackage("package-signature", "X509Certificate", 50004) from None
        if used != expected:
            raise InvalidPackage("package-signer-other", f"{expected}, {used}", 50004)
        return


def _parse(data: bytes) -> etree._Element:
    try:
        check_pieces((data,))
        return etree.fromstring(data, make_parser())
    except InvalidDocument as error:
        raise InvalidPackage("package-payload", str(error), 50005) from None
    except etree.XMLSyntaxError as error:
        raise InvalidPackage("package-payload", f"line {error.lineno}", 50007) from None
