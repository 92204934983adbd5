//! Topics: create, look, list, change, add partitions, delete.

use futures::FutureExt;
use meridian_model::topology::Retention;
use meridian_proto::admin as wire;

use super::types::{retention_to_wire, topic_from_wire};
use super::{Admin, Changed, Created, Deleted, NewTopic, PAGE_ROWS, PartitionsAdded, TopicInfo, service};
use crate::Error;

impl Admin {
    /// Creates a topic and waits, bounded, until its partitions have leaders.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<Created, Error> {
        let request = wire::CreateTopicRequest {
            topic: topic.name,
            partitions: topic.partitions,
            replication: topic.replication,
            retention: Some(retention_to_wire(topic.retention)),
            request_id: self.request_id(),
        };
        let call = self.shared.change("create topic", |channel| {
            let request = request.clone();
            async move { service(channel).create_topic(request).await }.boxed()
        });
        let response = call.await?;
        Ok(Created {
            topic: topic_from_wire(response.topic)?,
            control_index: response.control_index,
            pending_partitions: response.pending_partitions,
        })
    }

    /// A topic's settings and partitions.
    pub async fn get_topic(&self, topic: &str) -> Result<TopicInfo, Error> {
        let request = wire::GetTopicRequest { topic: topic.into() };
        let call = self.shared.call("describe topic", |channel| {
            let request = request.clone();
            async move { service(channel).get_topic(request).await }.boxed()
        });
        topic_from_wire(call.await?.topic)
    }

    /// All topics of a tenant (empty: `default`), of one namespace or (empty) of all.
    pub async fn list_topics(&self, tenant: &str, namespace: &str) -> Result<Vec<TopicInfo>, Error> {
        let (mut topics, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = wire::ListTopicsRequest {
                tenant: tenant.into(),
                namespace: namespace.into(),
                page_size: PAGE_ROWS,
                page_token,
            };
            let call = self.shared.call("list topics", |channel| {
                let request = request.clone();
                async move { service(channel).list_topics(request).await }.boxed()
            });
            let page = call.await?;
            for topic in page.topics {
                topics.push(topic_from_wire(Some(topic))?);
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(topics);
            }
        }
    }

    /// Replaces a topic's retention. `etag`: only if the topic is still as it was read; `None`: whatever it is.
    pub async fn update_topic(
        &self,
        topic: &str,
        retention: Retention,
        etag: Option<&str>,
    ) -> Result<Changed, Error> {
        let request = wire::UpdateTopicRequest {
            topic: topic.into(),
            retention: Some(retention_to_wire(retention)),
            etag: etag.unwrap_or_default().into(),
            request_id: self.request_id(),
        };
        let call = self.shared.change("update topic", |channel| {
            let request = request.clone();
            async move { service(channel).update_topic(request).await }.boxed()
        });
        let response = call.await?;
        self.shared.metadata.forget(topic);
        Ok(Changed {
            topic: topic_from_wire(response.topic)?,
            control_index: response.control_index,
            pending_partitions: response.pending_partitions,
        })
    }

    /// Raises the number of partitions to `total`. Keys re-route: the order of a key holds from then on only
    /// within its new partition; the answer carries that warning.
    pub async fn add_partitions(&self, topic: &str, total: u32) -> Result<PartitionsAdded, Error> {
        let request =
            wire::AddPartitionsRequest { topic: topic.into(), total, request_id: self.request_id() };
        let call = self.shared.change("add partitions", |channel| {
            let request = request.clone();
            async move { service(channel).add_partitions(request).await }.boxed()
        });
        let response = call.await?;
        self.shared.metadata.forget(topic);
        Ok(PartitionsAdded {
            topic: topic_from_wire(response.topic)?,
            control_index: response.control_index,
            warning: response.warning,
        })
    }

    /// Deletes a topic with all its messages.
    pub async fn delete_topic(&self, topic: &str) -> Result<Deleted, Error> {
        let request = wire::DeleteTopicRequest { topic: topic.into(), request_id: self.request_id() };
        let call = self.shared.change("delete topic", |channel| {
            let request = request.clone();
            async move { service(channel).delete_topic(request).await }.boxed()
        });
        let response = call.await?;
        self.shared.metadata.forget(topic);
        Ok(Deleted { control_index: response.control_index, pending: response.pending })
    }
}
