//! Amazon RDS's own certificate authorities, one per region and key type, which the web's roots do not include. The
//! data in `rds-roots/` comes from a package, see its README; anchors point into it, without copying or checking at
//! startup.

use rustls::pki_types::{Der, TrustAnchor};

/// Two DER SEQUENCEs per root: the subject and the public key.
static ANCHORS: &[u8] = include_bytes!("rds-roots/anchors.der");

pub(super) fn anchors() -> impl Iterator<Item = TrustAnchor<'static>> {
    let mut rest = ANCHORS;
    std::iter::from_fn(move || {
        let subject = sequence(&mut rest)?;
        let key = sequence(&mut rest)?;
        Some(TrustAnchor {
            subject: Der::from_slice(subject),
            subject_public_key_info: Der::from_slice(key),
            name_constraints: None,
        })
    })
}

/// Splits a SEQUENCE of less than 64 KiB off the front and returns its content.
fn sequence<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, content) = match **rest {
        [0x30, 0x82, high, low, ..] => (usize::from(u16::from_be_bytes([high, low])), 4),
        [0x30, 0x81, length, ..] => (length.into(), 3),
        [0x30, length @ ..=0x7f, ..] => (length.into(), 2),
        _ => return None,
    };
    let end = content + length;
    let found = rest.get(content..end)?;
    *rest = &rest[end..];
    Some(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rustls::RootCertStore;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    /// The certificates that the anchors were taken from, each below a line with its name.
    const CERTIFICATES: &str = include_str!("rds-roots/roots.pem");

    #[test]
    fn the_anchors_are_those_of_the_certificates() {
        let mut expected = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(CERTIFICATES.as_bytes()) {
            expected.add(certificate.unwrap()).unwrap();
        }

        assert_eq!(anchors().collect::<Vec<_>>(), expected.roots);
    }

    #[test]
    fn every_region_has_a_root_of_each_kind_of_key() {
        let mut regions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let names = CERTIFICATES.lines().filter_map(|line| line.strip_prefix("# Amazon RDS "));
        let names: Vec<(&str, &str)> = names.map(|name| name.split_once(" Root CA ").unwrap()).collect();
        for ((region, kind), anchor) in names.iter().zip(anchors()) {
            let common_name = format!("Amazon RDS {region} Root CA");
            let subject = String::from_utf8_lossy(&anchor.subject);
            assert!(subject.contains(&common_name), "expected {common_name} in {subject}");
            regions.entry(region).or_default().push(kind.split(',').next().unwrap());
        }

        assert_eq!(regions.values().map(Vec::len).sum::<usize>(), anchors().count());
        for (region, kinds) in &regions {
            assert_eq!(kinds, &["ECC384 G1", "RSA2048 G1", "RSA4096 G1"], "{region}");
        }
        let regions: Vec<&str> = regions.into_keys().collect();
        let expected = "af-south-1 ap-east-1 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2 \
            ap-southeast-1 ap-southeast-2 ap-southeast-3 ap-southeast-4 ca-central-1 eu-central-1 eu-central-2 \
            eu-north-1 eu-south-1 eu-south-2 eu-west-1 eu-west-2 eu-west-3 me-central-1 me-south-1 sa-east-1 \
            us-east-1 us-east-2 us-west-1 us-west-2";
        assert_eq!(regions, expected.split_whitespace().collect::<Vec<_>>());
    }

    /// RDS Proxy and Aurora Serverless v1 have certificates of AWS Certificate Manager.
    #[test]
    fn the_roots_of_amazon_s_certificate_manager_are_among_the_web_s() {
        let web: Vec<String> = webpki_roots::TLS_SERVER_ROOTS
            .iter()
            .map(|root| String::from_utf8_lossy(&root.subject).into())
            .collect();
        for name in [
            "Amazon Root CA 1",
            "Amazon Root CA 2",
            "Amazon Root CA 3",
            "Amazon Root CA 4",
            "Starfield Services Root Certificate Authority - G2",
        ] {
            assert!(web.iter().any(|subject| subject.contains(name)), "{name} is not among the web's roots");
        }
    }

    #[test]
    fn what_is_no_whole_sequence_is_none() {
        for bytes in
            [&[][..], &[0x30], &[0x30, 2, 1], &[0x31, 0], &[0x30, 0x83, 0, 0, 0], &[0x30, 0x82, 1, 0, 5]]
        {
            assert_eq!(sequence(&mut &*bytes), None, "{bytes:?}");
        }
        let mut two = &[0x30, 1, 7, 0x30, 0x81, 0][..];
        assert_eq!(sequence(&mut two), Some(&[7][..]));
        assert_eq!(sequence(&mut two), Some(&[][..]));
        assert_eq!(two, &[0u8; 0]);
    }
}
